"""Training of score networks: the loss, the averaged weights, stops and resumes, and what is refused."""

from __future__ import annotations

import dataclasses
import math
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from processes import Processes, run
from support import two_processes
from tangency.errors import DataError, ModelError, RunError, SpecError
from tangency.score import EDMLoss, FunctionScore, NetworkScore, ScoreCard, build_network, denoising_error, load_network
from tangency.seeding import Draw
from tangency.tensors import read_tensors
from tangency.training import SCORE_CONFIG, Averaging, train_score
from tangency.types import LabelledImages

SHAPE, CLASSES = (1, 6, 7), ("a", "b", "c")
CONFIG = dataclasses.replace(SCORE_CONFIG, epochs=2, batch_size=16, validation_fraction=0.2)
ALWAYS = dataclasses.replace(CONFIG, checkpoint_seconds=0.0)


def data(n: int = 60) -> LabelledImages:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, *SHAPE), generator=generator).to(torch.uint8)
    return LabelledImages(pixels, torch.arange(n) % 3, CLASSES)


def network(**changes: Any) -> NetworkScore:
    options = {"channels": 1, "classes": 3, "widths": (4, 8), "blocks": 1, "attention": (1,), "dropout": 0.1}
    content = {"options": options | changes.pop("options", {}), "classes": CLASSES, "prediction": "edm"} | changes
    return build_network(ScoreCard("unet", shape=SHAPE, **content), seed=0)


def files(folder: Path) -> dict[str, Any]:
    """Everything a run leaves but the times."""
    found = {}
    for name in ("score", "best-score"):
        tensors, header = read_tensors(folder / f"{name}.safetensors")
        for time in ("seconds", "cpu_seconds", "config"):
            del header["score"]["provenance"]["training"][time]
        found[name] = ({key: value.tolist() for key, value in tensors.items()}, header)
    return found


class Stop(Exception):
    pass


def test_stopped_by_an_exception_after_every_step(tmp_path: Path) -> None:
    whole = train_score(network(), data(), EDMLoss(), CONFIG, tmp_path / "whole")
    seen = []

    def stop(step: Any) -> None:
        seen.append((step.epoch, step.step))
        raise Stop

    score, result = network(), None
    while result is None:
        try:
            result = train_score(score, data(), EDMLoss(), ALWAYS, tmp_path / "stopped", on_step=stop)
        except Stop:
            assert len(seen) <= 6, "does not get on"
    assert seen == [(epoch, step) for epoch in (1, 2) for step in (1, 2, 3)]
    assert files(tmp_path / "stopped") == files(tmp_path / "whole")
    assert [{**row, "seconds": 0} for row in result.history] == [{**row, "seconds": 0} for row in whole.history]
    x = torch.rand(2, *SHAPE)
    assert torch.equal(
        result.score.denoise(x, 0.2), load_network(tmp_path / "whole" / "score.safetensors").denoise(x, 0.2)
    )


SCRIPT = """
import sys
sys.path[:0] = [sys.argv[2], sys.argv[2] + "/.."]
import torch
torch.set_num_threads(1)
from test_score_training import ALWAYS, data, network
from tangency.score import EDMLoss
from tangency.training import train_score
train_score(network(), data(), EDMLoss(), ALWAYS, sys.argv[1])
"""


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize(
    "point", ["train.step#2", "train.epoch#1", "rename:checkpoint.safetensors#3", "rename:score.safetensors#1"]
)
def test_killed_at_any_point(tmp_path: Path, point: str) -> None:
    train_score(network(), data(), EDMLoss(), CONFIG, tmp_path / "whole")

    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed"), str(Path(__file__).parent)]
    order = {"TANGENCY_JOURNAL": str(tmp_path / "journal"), "TANGENCY_KILL": point}
    assert run(command, order, check=False).returncode == -signal.SIGKILL
    run(command)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.processes
def test_two_processes_train_as_one_does(tmp_path: Path, processes: Processes) -> None:
    """Each takes half of every batch; gradients are summed, and both keep the same average."""
    script = SCRIPT.replace("network()", "network(options={'dropout': 0.0})")
    both = two_processes(processes, script, tmp_path / "two", Path(__file__).parent)
    alone = train_score(network(options={"dropout": 0.0}), data(), EDMLoss(), CONFIG, tmp_path / "one").score
    assert processes.codes(*both) == [0, 0]
    together = load_network(tmp_path / "two" / "score.safetensors")
    for name, value in alone.module.state_dict().items():
        torch.testing.assert_close(together.module.state_dict()[name], value, rtol=1e-3, atol=1e-4)


def test_a_finished_training_is_not_repeated_and_another_is_refused(tmp_path: Path) -> None:
    first = train_score(network(), data(), EDMLoss(), CONFIG, tmp_path)

    def never(step: Any) -> None:
        raise AssertionError("trained again")

    again = train_score(network(), data(), EDMLoss(), CONFIG, tmp_path, on_step=never)
    assert again.history == first.history
    x = torch.rand(2, *SHAPE)
    assert torch.equal(again.score.denoise(x, 0.2), first.score.denoise(x, 0.2))
    for loss, averaging in ((EDMLoss(mean=-1.0), Averaging()), (EDMLoss(), Averaging(share=0.5))):
        with pytest.raises(RunError, match="another training"):
            train_score(network(), data(), loss, dataclasses.replace(CONFIG, averaging=averaging), tmp_path)


def test_the_initial_weights_stay_as_they_are(tmp_path: Path) -> None:
    score = network()
    before = {name: value.clone() for name, value in score.module.state_dict().items()}
    train_score(score, data(), EDMLoss(), CONFIG, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in score.module.state_dict().items())
    assert not any(parameter.requires_grad for parameter in score.module.parameters())


def test_half_life_of_the_average() -> None:
    average = Averaging(half_life=1000.0, share=0.1)
    assert average.decay(1_000_000, 500) == pytest.approx(0.5**0.5)
    assert average.decay(1950, 50) == pytest.approx(0.5 ** (50 / 200))  # a tenth of 2,000 images


def test_the_average_follows_the_weights(tmp_path: Path) -> None:
    """Kept weights are Σ of the weights after each step, faded by the decay of every later step."""
    seen: list[Tensor] = []
    modules: list[nn.Module] = []

    class Watching(EDMLoss):
        def losses(self, module: nn.Module, *rest: Any) -> Tensor:
            modules.append(module)
            return super().losses(module, *rest)

    def step(told: Any) -> None:
        seen.append(torch.cat([p.detach().flatten() for p in modules[0].parameters()]))

    start = torch.cat([p.flatten() for p in network().module.parameters()])
    averaging = Averaging(share=0.3)
    config = dataclasses.replace(CONFIG, epochs=1, averaging=averaging)
    result = train_score(network(), data(), Watching(), config, tmp_path, on_step=step)
    wanted = start
    for number, weights in enumerate(seen):
        decay = averaging.decay(16 * number, 16)
        wanted = decay * wanted + (1 - decay) * weights
    found = torch.cat([p.flatten() for p in result.score.module.parameters()])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


class _Zero(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Tensor, Tensor | None]] = []

    def forward(self, x: Tensor, time: Tensor, y: Tensor, mirror: Tensor) -> Tensor:
        self.asked.append((y, mirror))
        return torch.zeros_like(x)


def test_a_network_that_says_nothing_has_the_loss_of_the_skip_alone() -> None:
    """F = 0: w E‖c_skip(u + n) − u‖² = (σ_d²σ² + σ⁴‖u‖²/d)/(σ²σ_d²(σ² + σ_d²)), for N(0, σ_d²) data 1."""
    ids = torch.arange(4000)
    u = 0.5 * Draw(0, ids, "data").normal((1, 8, 8))
    found = EDMLoss().losses(_Zero(), u, torch.zeros(4000, dtype=torch.int64), 3, Draw(0, ids, "loss"))
    assert float(found.mean()) == pytest.approx(1.0, abs=0.01)


def test_labels_are_withheld_and_images_mirrored_as_often_as_asked() -> None:
    ids, net = torch.arange(5000), _Zero()
    y = ids % 3
    EDMLoss(class_dropout=0.3, flip=True).losses(net, torch.rand(5000, 1, 2, 2), y, 3, Draw(0, ids, "loss"))
    given, mirror = net.asked[0]
    assert mirror is not None
    assert float((given == 3).double().mean()) == pytest.approx(0.3, abs=0.02)
    assert bool((given == y)[given != 3].all())
    assert float(mirror.double().mean()) == pytest.approx(0.5, abs=0.03)


def test_noise_levels_are_log_normal_and_an_image_draws_its_own() -> None:
    ids, levels = torch.arange(4000), []

    class Told(_Zero):
        def forward(self, x: Tensor, time: Tensor, y: Tensor, mirror: Tensor) -> Tensor:
            levels.append(4 * time)  # time is ¼ ln σ
            return torch.zeros_like(x)

    u = torch.rand(4000, 1, 2, 2)
    whole = EDMLoss().losses(Told(), u, ids % 3, 3, Draw(0, ids, "loss"))
    assert float(levels[0].mean()) == pytest.approx(-1.2, abs=0.08)
    assert float(levels[0].std()) == pytest.approx(1.2, abs=0.06)
    one = EDMLoss().losses(Told(), u[17:18], ids[17:18] % 3, 3, Draw(0, ids[17:18], "loss"))
    torch.testing.assert_close(one, whole[17:18])


def test_it_learns(tmp_path: Path) -> None:
    """Two grey levels: after a hundred steps the network tells them apart."""
    pixels = torch.where(torch.arange(320) % 2 == 0, 50, 200).to(torch.uint8)
    grey = LabelledImages(
        pixels[:, None, None, None].expand(-1, *SHAPE).clone(), torch.arange(320) % 2, ("dark", "light")
    )
    score = network(options={"classes": 2, "dropout": 0.0}, classes=("dark", "light"))
    config = dataclasses.replace(CONFIG, epochs=8, learning_rate=5e-3)
    result = train_score(score, grey, EDMLoss(), config, tmp_path)
    assert result.outcome == "ok"
    for sigma in (0.1, 0.25):
        before, after = (float(denoising_error(s, grey, sigma).mean()) for s in (score, result.score))
        assert after < 0.25 * before
    assert float(denoising_error(result.score, grey, 0.25).mean()) < 0.15 * 0.25**2
    last = result.history[-1]
    assert isinstance(last["validation_loss"], float)
    assert last["validation_loss"] < 0.3


def test_a_run_that_diverges_says_so(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, learning_rate=1e30, clip_norm=None)
    result = train_score(network(), data(), EDMLoss(), config, tmp_path)
    assert result.outcome == "diverged"
    assert all(bool(torch.isfinite(p).all()) for p in result.score.module.parameters())


def test_without_validation_the_last_is_the_best(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, validation_fraction=0.0)
    result = train_score(network(), data(), EDMLoss(), config, tmp_path)
    assert result.history[-1]["validation_loss"] is None
    assert files(tmp_path)["score"][0] == files(tmp_path)["best-score"][0]


@pytest.mark.parametrize(
    ("score", "loss", "config", "error", "message"),
    [
        ({}, {"sigma_data": 0.3}, {}, SpecError, "sigma_data"),
        ({}, {"class_dropout": 0.0}, {}, SpecError, "class_dropout"),
        ({}, {"flip": True}, {}, SpecError, "mirrored"),
        ({}, {}, {"crop": 2}, SpecError, "flip and crop"),
        ({"prediction": "ve"}, {}, {}, ModelError, "expected a unet with prediction"),
        ({"classes": ("a", "b"), "options": {"classes": 2}}, {}, {}, ModelError, "in 3 classes"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, score: dict[str, Any], loss: dict[str, Any], config: dict[str, Any], error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        train_score(network(**score), data(), EDMLoss(**loss), dataclasses.replace(CONFIG, **config), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_refused_before_a_step(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("taken")

    def never(step: Any) -> None:
        raise AssertionError("a step was taken")

    with pytest.raises(RunError, match="cannot be made"):
        train_score(network(), data(), EDMLoss(), CONFIG, tmp_path / "file" / "run", on_step=never)


def test_no_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images"):
        train_score(network(), data().subset(slice(0, 0)), EDMLoss(), CONFIG, tmp_path)


@pytest.mark.parametrize("settings", [{"mean": math.nan}, {"std": -1.0}, {"class_dropout": 1.5}, {"sigma_data": 0.0}])
def test_bad_losses_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(SpecError, match="got"):
        EDMLoss(**settings)
    with pytest.raises(SpecError, match="got"):
        Averaging(share=0.0)


def test_a_function_has_nothing_to_train() -> None:
    assert not isinstance(FunctionScore(lambda u, sigma, y: u, SHAPE), NetworkScore)


MEMORY = """
import sys, tempfile
sys.path[:0] = [sys.argv[2], sys.argv[2] + "/.."]
import torch
torch.set_num_threads(1)
import dataclasses
from test_score_training import CONFIG, network
from tangency.score import EDMLoss
from tangency.training import train_score
from tangency.types import LabelledImages
n = int(sys.argv[1])
pixels = torch.zeros(n, 1, 6, 7, dtype=torch.uint8)
data = LabelledImages(pixels, torch.arange(n) % 3, ("a", "b", "c"))
class Stop(Exception): pass
def stop(step):
    if step.step == 5:
        raise Stop
try:
    with tempfile.TemporaryDirectory() as folder:
        train_score(network(), data, EDMLoss(), CONFIG, folder, on_step=stop)
except Stop:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))  # ru_maxrss has the parent's
    print(peak.split()[1])
"""


@pytest.mark.slow
@pytest.mark.processes
def test_memory_is_that_of_the_images_as_bytes() -> None:
    def peak(n: int) -> float:
        command = [sys.executable, "-c", MEMORY, str(n), str(Path(__file__).parent)]
        return 1024 * float(run(command).stdout)

    n = 2_000_000
    growth, stored = peak(n) - peak(1000), n * (6 * 7 + 8)  # pixels and labels; as float32 it were 336 MB more
    assert growth < 2.5 * stored
