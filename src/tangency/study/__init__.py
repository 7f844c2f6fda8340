"""A spec to trials, rows and numbers; resumable, over local worker processes."""

from tangency.study.preflight import checked_plan
from tangency.study.run import Status, run_study, study_status
from tangency.study.spec import SHIPPED, StudySpec, dump_spec, load_spec, parse_spec, shipped_spec
from tangency.study.trials import StudyRun, load_run

__all__ = [
    "SHIPPED",
    "Status",
    "StudyRun",
    "StudySpec",
    "checked_plan",
    "dump_spec",
    "load_run",
    "load_spec",
    "parse_spec",
    "quickstart_spec",
    "run_study",
    "shipped_spec",
    "study_status",
]


def quickstart_spec(**changes: object) -> StudySpec:
    """The embedded study of `tangency quickstart`, with some of its keys replaced."""
    return shipped_spec("quickstart", **changes)
