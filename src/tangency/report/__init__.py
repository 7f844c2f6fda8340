"""A run directory to one self-contained page and to paper figures; reads files only, never a tensor."""

from tangency.report.leaderboard import write_leaderboard
from tangency.report.write import write_report

__all__ = ["write_leaderboard", "write_report"]
