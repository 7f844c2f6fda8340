"""All tasks by name."""

from __future__ import annotations

from torch import Tensor

from tangency.generation.tasks.change import CounterfactualTask, SketchTask, TranslateTask
from tangency.generation.tasks.denoise import DenoiseTask
from tangency.generation.tasks.feature import FeatureTask
from tangency.generation.tasks.generate import GenerateTask
from tangency.generation.tasks.inputs import Outcome, TaskInputs
from tangency.generation.tasks.restoration import InpaintTask, SuperResolutionTask
from tangency.generation.tasks.task import GenerationTask
from tangency.references import Registry
from tangency.seeding import Draw

_OURS = (
    GenerateTask(),
    DenoiseTask(),
    InpaintTask(),
    SuperResolutionTask(),
    TranslateTask(),
    CounterfactualTask(),
    FeatureTask(),
    SketchTask(),
)
TASKS: Registry[GenerationTask] = Registry(
    "task",
    "tangency.tasks",
    {task.name: task for task in _OURS},
    "an object of a subclass of GenerationTask",
    lambda held: isinstance(held, GenerationTask),
)


def perform(inputs: TaskInputs, ids: Tensor) -> Outcome:
    """One batch of a task: by the classifier, and by what it is compared with.

    Args:
        inputs: the task's options, data, networks and references.
        ids: (N,) numbers of test images, or of pictures that are made from nothing.
    """
    draw = Draw(inputs.options.seed, ids.to(inputs.device), "generation")
    return TASKS[inputs.options.task].perform(inputs, ids, draw)
