"""Generation in words: tasks, sources of pictures, qualities, the judge, and correlations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tangency.generation.tasks.table import TASKS
from tangency.report.text.glossary import objective_name
from tangency.report.text.numbers import capital, number

AGAINST = {"F²": "F² minus shuffled", "alignment": "alignment minus shuffled", "log_strength": "log strength"}


def judge_words(judge: Mapping[str, Any]) -> str:
    """The judge in words, with how good it is."""
    if "reference" in judge:
        who = f"the saved network {judge['reference']}"
    else:
        options = ", ".join(f"{name} {value}" for name, value in judge["options"].items())
        kind = f"{judge['architecture']}{f' ({options})' if options else ''}"
        who = f"a {kind} of seed {judge['seed']}, trained by this study"
    return f"{who}, with {accuracy_words(judge['accuracy'])}"


def accuracy_words(accuracy: Mapping[str, Any]) -> str:
    """The accuracy of a judge, with its interval and chance."""
    return (
        f"accuracy {accuracy['mean']:.1%} on {accuracy['n']} test images "
        f"({accuracy['low']:.1%} to {accuracy['high']:.1%}; chance {accuracy['chance']:.1%})"
    )


def task_lead(entry: Mapping[str, Any]) -> str:
    """The settings of a task in words."""
    settings = entry["settings"]
    climb, described = settings["climb"], TASKS[entry["task"]].described(settings)
    what = f", {described}" if described else ""
    steps = f"at most {climb['steps']} {climb['rule']} steps, " if "steps" in climb else ""
    return (
        f"{entry['count']} images for each network{what}; {steps}the same seeds for every network. References get as "
        "many passes of a network."
    )


def peak_sentences(entry: Mapping[str, Any], shown: list[str]) -> list[str]:
    """Where the first quality peaks, in a sentence for each objective."""
    return [
        f"{capital(objective_name(peak['objective']))}: {peak['words'][0].lower()}{peak['words'][1:]}"
        for peak in entry["peaks"]
        if shown and peak["quality"] == shown[0]
    ]


# Who made the pictures, on the page of a task.
SOURCE_NAMES = {
    "truth": "truth",
    "input": "input",
    "real": "real",
    "classifier": "classifier",
    "bayes": "Bayes rule",
    "mixture": "mixture",
    "score": "score",
    "score_guided": "guided score",
}
# References in a study, by how good they may be expected to be.
REFERENCE_NAMES = {
    "truth": "truth",
    "real": "test images",
    "score": "score model",
    "mixture": "mixture, closed form",
    "bayes": "Bayes rule of the mixture",
    "input": "input, nothing done",
}
_ROWS = 3  # qualities in a figure


def quality_shown(entry: Mapping[str, Any]) -> list[str]:
    """The qualities that are drawn: the first few that were measured, PSNR and its gain not both."""
    both = [
        name for name in TASKS[entry["task"]].qualities if name in ("psnr", "psnr_gain") and name in entry["qualities"]
    ]
    return [name for name in entry["qualities"] if name not in both[1:]][:_ROWS]


def quality_label(name: str, about: Mapping[str, Any]) -> str:
    """The label of a quality on an axis, with its unit."""
    titles = {
        "judge_accuracy": "judge accuracy",
        "judge_confidence": "judge confidence",
        "kid": "KID",
        "psnr_gain": "PSNR gain",
        "psnr": "PSNR",
        "ssim": "SSIM",
        "lpips": "LPIPS",
    }
    unit = f", {about['unit']}" if about.get("unit") else ""
    return f"{titles.get(name, name.replace('_', ' '))}{unit}"


def better_words(about: Mapping[str, Any]) -> str:
    """The better direction of a quality; "" where neither is."""
    return {"higher": "(higher is better)", "lower": "(lower is better)"}.get(about["better"], "")


def correlation_words(entry: Mapping[str, Any], quality: str, against: str, scope: str = "all") -> str:
    """Spearman's ρ of a quality with its interval, or that it is undefined; "" where it was not computed."""
    for each in entry["correlations"]:
        if (each["quality"], each["against"], each["scope"]) == (quality, against, scope):
            if each["rho"] is None:
                return f"rank correlation not defined ({each['n']} cells)"
            interval = f"[{number(each['low'], 2)}, {number(each['high'], 2)}]"
            return f"rank correlation {number(each['rho'], 2, signed=True)} {interval}, {each['n']} cells"
    return ""
