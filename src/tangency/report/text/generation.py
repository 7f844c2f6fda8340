"""Generation in words: tasks, sources of pictures, qualities, the judge, and correlations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tangency.report.text.glossary import objective_name
from tangency.report.text.numbers import capital, number

TASK_TITLES = {
    "generate": "Images from noise",
    "denoise": "Denoising",
    "inpaint": "Inpainting",
    "superres": "Super-resolution",
    "translate": "Image to image",
    "counterfactual": "Counterfactuals",
    "sketch": "Sketch to image",
}
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
    climb, task = settings["climb"], entry["task"]
    what = f", {_SETTINGS[task](settings)}" if task in _SETTINGS else ""
    steps = f"at most {climb['steps']} {climb['rule']} steps, " if "steps" in climb else ""
    return (
        f"{entry['count']} images for each network{what}; {steps}the same seeds for every network. References get as "
        "many passes of a network."
    )


def _hidden(settings: Mapping[str, Any]) -> str:
    """What a mask hides; half of the pixels where no share is given."""
    return f"{settings['mask']} mask on {settings.get('share', 0.5):.0%} of the pixels, raising the {settings['label']}"


_SETTINGS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "denoise": lambda s: f"noise of σ = {s['sigma']:g}, {s['method']} method, raising the {s['label']}",
    "inpaint": _hidden,
    "superres": lambda s: f"×{s['factor']}, raising the {s['label']}",
    "generate": lambda s: f"from {s['start']}",
}


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
    wanted = [name for name in entry["qualities"] if not (name == "psnr" and "psnr_gain" in entry["qualities"])]
    if entry["task"] in ("inpaint", "superres"):
        wanted = [name for name in entry["qualities"] if name != "psnr_gain"]
    return wanted[:_ROWS]


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
