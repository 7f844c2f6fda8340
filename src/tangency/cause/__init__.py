"""Cause, not correlation: parts of the gradient are penalised in own and in sham tangent spaces, by equal amounts."""

from tangency.cause.entries import CauseResult
from tangency.cause.run import run_cause
from tangency.cause.spec import SHIPPED, CauseSpec, dump_cause, load_cause, parse_cause

__all__ = ["SHIPPED", "CauseResult", "CauseSpec", "dump_cause", "load_cause", "parse_cause", "run_cause"]
