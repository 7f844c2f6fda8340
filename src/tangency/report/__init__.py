"""Runs, measured models, scores and generated pictures as pages and figures; reads files only, never a tensor."""

from tangency.report.write import write_cause, write_generation, write_leaderboard, write_report, write_score

__all__ = ["write_cause", "write_generation", "write_leaderboard", "write_report", "write_score"]
