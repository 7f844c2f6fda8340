"""A spec to trials, rows and numbers; resumable, over local worker processes."""

from tangency.study.run import Status, run_study, study_status
from tangency.study.single import estimates, measure_reference
from tangency.study.spec import StudySpec, dump_spec, load_spec, parse_spec

__all__ = [
    "Status",
    "StudySpec",
    "dump_spec",
    "estimates",
    "load_spec",
    "measure_reference",
    "parse_spec",
    "quickstart_spec",
    "run_study",
    "study_status",
]


def quickstart_spec(**changes: object) -> StudySpec:
    """The embedded study of `tangency quickstart`, with some of its keys replaced."""
    from importlib import resources

    import yaml

    text = (resources.files("tangency.study") / "quickstart.yaml").read_text()
    return parse_spec(yaml.safe_load(text) | changes, "quickstart")
