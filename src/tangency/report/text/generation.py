"""Generation in words: tasks, sources of pictures, qualities, the judge, and correlations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tangency.evaluate.entries import MeasureEntry
from tangency.evaluate.generation.qualities import Quality
from tangency.report.text.glossary import objective_name
from tangency.report.text.numbers import capital, number
from tangency.study.generation.entries import JudgeEntry, TaskEntry

if TYPE_CHECKING:
    from tangency.generation.tasks.task import GenerationTask

AGAINST = {"F²": "F² minus shuffled", "alignment": "alignment minus shuffled", "log_strength": "log strength"}
SOURCE_NAMES = {  # of pictures, on the page of a task
    "truth": "truth",
    "input": "input",
    "real": "real",
    "classifier": "classifier",
    "bayes": "Bayes rule",
    "mixture": "mixture",
    "score": "score",
    "score_guided": "guided score",
}
REFERENCE_NAMES = {  # in a study, by how good they may be expected to be
    "truth": "truth",
    "real": "test images",
    "score": "score model",
    "mixture": "mixture, closed form",
    "bayes": "Bayes rule of the mixture",
    "input": "input, nothing done",
}
QUALITY_NAMES = {"kid": "KID", "psnr_gain": "PSNR gain", "psnr": "PSNR", "ssim": "SSIM", "lpips": "LPIPS"}
_ROWS = 3  # qualities in a figure


def _task(entry: TaskEntry) -> GenerationTask:
    from tangency.generation.tasks.table import TASKS

    return TASKS[entry.task]


def judge_words(judge: JudgeEntry) -> str:
    """The judge in words, with how good it is."""
    if judge.reference is not None:
        name = f"the saved network {judge.reference}"
    else:
        options = ", ".join(f"{name} {value}" for name, value in (judge.options or {}).items())
        kind = f"{judge.architecture}{f' ({options})' if options else ''}"
        name = f"a {kind} of seed {judge.seed}, trained by this study"
    return f"{name}, with {accuracy_words(judge.accuracy)}"


def accuracy_words(accuracy: MeasureEntry) -> str:
    """The accuracy of a judge, with its interval and chance."""
    mean, low, high, chance = (
        f"{value or 0:.1%}" for value in (accuracy.mean, accuracy.low, accuracy.high, accuracy.chance)
    )
    return f"accuracy {mean} on {accuracy.n} test images ({low} to {high}; chance {chance})"


def task_title(entry: TaskEntry) -> str:
    """The title of a task; tasks that a study has several times are numbered."""
    number_of_task = entry.name.partition("-")[2]
    return _task(entry).title + (f" ({number_of_task})" if number_of_task else "")


def task_lead(entry: TaskEntry) -> str:
    """The settings of a task in words."""
    climb, described = entry.settings["climb"], _task(entry).described(entry.settings)
    what = f", {described}" if described else ""
    steps = f"at most {climb['steps']} {climb['rule']} steps, " if "steps" in climb else ""
    return (
        f"{entry.count} images for each network{what}; {steps}the same seeds for every network. References get as "
        "many passes of a network."
    )


def peak_sentences(entry: TaskEntry) -> list[str]:
    """Where the first quality peaks, in a sentence for each objective."""
    first = quality_shown(entry)[:1]
    return [
        f"{capital(objective_name(peak.objective))}: {peak.words[0].lower()}{peak.words[1:]}"
        for peak in entry.peaks
        if [peak.quality] == first
    ]


def quality_shown(entry: TaskEntry) -> list[str]:
    """The qualities that are drawn: the first few that were measured, PSNR and its gain not both."""
    both = [name for name in _task(entry).qualities if name in ("psnr", "psnr_gain") and name in entry.qualities]
    return [name for name in entry.qualities if name not in both[1:]][:_ROWS]


def quality_label(name: str, about: Quality | None = None) -> str:
    """The label of a quality on an axis, with its unit."""
    unit = f", {about.unit}" if about and about.unit else ""
    return f"{QUALITY_NAMES.get(name, name.replace('_', ' '))}{unit}"


def better_words(about: Quality) -> str:
    """The better direction of a quality; "" where neither is."""
    return {"higher": "(higher is better)", "lower": "(lower is better)"}.get(about.better, "")


def over_words(networks: int) -> str:
    """What intervals of recipes with this many networks are over.

    Example:
        >>> over_words(3), over_words(1)
        ('3 networks crossed with images', 'images of one network')
    """
    return f"{networks} networks crossed with images" if networks > 1 else "images of one network"


def correlation_words(entry: TaskEntry, quality: str, against: str, scope: str = "all") -> str:
    """Spearman's ρ of a quality with its interval, or that it is undefined; "" where it was not computed."""
    for each in entry.correlations:
        if (each.quality, each.against, each.scope) == (quality, against, scope):
            if each.rho is None:
                return f"rank correlation not defined ({each.n} cells)"
            interval = f"[{number(each.low, 2)}, {number(each.high, 2)}]"
            return f"rank correlation {number(each.rho, 2, signed=True)} {interval}, {each.n} cells"
    return ""
