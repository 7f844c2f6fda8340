"""Runs, measured models, scores and generated pictures as pages and figures; reads files only, never a tensor."""

from tangency.report.read.standings import Standing, rank_models
from tangency.report.write import write_cause, write_generation, write_leaderboard, write_report, write_score

__all__ = [
    "Standing",
    "rank_models",
    "write_cause",
    "write_generation",
    "write_leaderboard",
    "write_report",
    "write_score",
]
