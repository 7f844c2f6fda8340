"""A run that is stopped anywhere, in any way, ends as if it had never stopped; two processes train as one does."""

import dataclasses
import signal
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from objective_support import complete
from processes import run
from support import two_processes
from tangency.models import Classifier, build, read_classifier
from tangency.objectives import make
from tangency.tensors import read_tensors
from tangency.training import TrainConfig, train
from tangency.types import LabelledImages

SHAPE = (1, 9, 11)
CONFIG = TrainConfig(epochs=3, batch_size=16, learning_rate=0.02, validation_fraction=0.2, flip=True, crop=1)
ALWAYS = dataclasses.replace(CONFIG, checkpoint_seconds=0.0)


def data(n=60):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, *SHAPE), generator=generator).to(torch.uint8)
    return LabelledImages(pixels, torch.arange(n) % 3, ("a", "b", "c"))


FRESH = complete("projected_gradient_norm", 0.1, data(), sham="fresh")
OBJECTIVES = [make("pgd_l2", 0.5, steps=2), make("gnorm", 0.1), make("pgd", 0.5, legacy="pags"), FRESH]


def net():
    return build("convnet", SHAPE, 3, seed=0, channels=(3, 5, 7), norm="batch")


class WithDropout(nn.Module):
    """Draws random numbers of its own."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.linear = nn.Linear(99, 3)
        self.linear.weight.data = 0.1 * torch.randn(3, 99, generator=generator)
        self.linear.bias.data.zero_()

    def forward(self, x):
        return self.linear(nn.functional.dropout(x.flatten(1), 0.5, self.training))


def with_dropout():
    return Classifier.wrap(WithDropout(), SHAPE, 3)


def files(folder):
    """Everything a run leaves but the times."""
    found = {}
    for name in ("model", "best"):
        tensors, header = read_tensors(folder / f"{name}.safetensors")
        for time in ("seconds", "cpu_seconds", "config"):
            del header["provenance"]["training"][time]
        found[name] = ({key: value.tolist() for key, value in tensors.items()}, header)
    return found


def rows(result):
    return [{**row, "seconds": 0} for row in result.history]


class Stop(Exception):
    pass


@pytest.mark.parametrize("make_net", [net, with_dropout])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_stopped_by_an_exception_after_every_step(tmp_path, make_net, objective):
    whole = train(make_net(), data(), objective, CONFIG, tmp_path / "whole")
    seen = []

    def stop(step):
        seen.append((step.epoch, step.step))
        raise Stop

    classifier, result = make_net(), None
    while result is None:
        try:
            result = train(classifier, data(), objective, ALWAYS, tmp_path / "stopped", on_step=stop)
        except Stop:
            assert len(seen) <= 9, "does not get on"
    assert seen == [(epoch, step) for epoch in (1, 2, 3) for step in (1, 2, 3)]
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")
    assert rows(result) == rows(whole)


def test_a_classifier_whose_training_stopped_has_its_initial_weights_again(tmp_path):
    classifier, initial = net(), net().module.state_dict()

    def stop(step):
        if step.epoch == 2:
            raise Stop

    with pytest.raises(Stop):
        train(classifier, data(), make("standard"), CONFIG, tmp_path, on_step=stop)
    assert all(torch.equal(value, initial[name]) for name, value in classifier.module.state_dict().items())


SCRIPT = """
import sys
sys.path[:0] = [sys.argv[2], sys.argv[2] + "/.."]
import torch
torch.set_num_threads(1)
from test_resume import ALWAYS, data, net
from tangency.objectives import make
from tangency.training import train
train(net(), data(), make("gnorm", 0.1), ALWAYS, sys.argv[1])
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    "point",
    [
        "train.step#4",
        pytest.param("rename:checkpoint.safetensors#5", marks=pytest.mark.slow),
        pytest.param("rename:best.safetensors#1", marks=pytest.mark.slow),
        pytest.param("rename:model.safetensors#1", marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_point(tmp_path, point):
    """As kill -9 would: no clean-up runs, then the same call again."""
    train(net(), data(), make("gnorm", 0.1), CONFIG, tmp_path / "whole")
    journal = tmp_path / "journal"
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path / "run"), str(Path(__file__).parent)]
    killed = run(command, {"TANGENCY_JOURNAL": str(journal), "TANGENCY_KILL": point}, check=False)
    assert killed.returncode == -signal.SIGKILL
    steps = sum("train.step" in line for line in journal.read_text().splitlines())
    journal.unlink()
    seen = []
    train(net(), data(), make("gnorm", 0.1), ALWAYS, tmp_path / "run", on_step=seen.append)
    assert files(tmp_path / "run") == files(tmp_path / "whole")
    assert 9 <= steps + len(seen) <= 10, "at most the step in progress is done again"
    assert len(list((tmp_path / "run").iterdir())) == 3, "leftovers of the killed process remain"


@pytest.mark.slow
@pytest.mark.processes
def test_two_processes_train_as_one_does(tmp_path, processes):
    """Each takes half of every batch and the gradients are summed; group norm, as batch norm sees half a batch."""
    script = SCRIPT.replace("net()", "grouped()").replace("import ALWAYS, data, net", "import ALWAYS, data, grouped")
    both = two_processes(processes, script, tmp_path / "two", Path(__file__).parent)
    alone = train(grouped(), data(), make("gnorm", 0.1), CONFIG, tmp_path / "one").classifier
    assert processes.codes(*both) == [0, 0]
    together = read_classifier(tmp_path / "two" / "model.safetensors")
    for name, value in alone.module.state_dict().items():
        torch.testing.assert_close(together.module.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def grouped():
    return build("convnet", SHAPE, 3, seed=0, channels=(3, 5, 7), norm="group")
