"""Image to image: test images are taken to another class within a budget."""

from __future__ import annotations

from tangency.generation.tasks.change import ChangeTask


class TranslateTask(ChangeTask):
    """From test images to the class asked for, or to the classifier's second choice."""

    name = "translate"
    title = "Image to image"
    options = ("target",)
