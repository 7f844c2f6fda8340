"""Weights are found under the wrappers of training scripts; what is ambiguous is refused by name."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from models.state_support import RAW, prefixed, random_state, save, small
from tangency.errors import ModelError
from tangency.models.foreign.states import fit_states, read_states
from tangency.models.references import load_model

WRAPPERS = {
    "bare": lambda s: s,
    "state_dict": lambda s: {
        "state_dict": s,
        "epoch": 3,
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(4)}}},
    },
    "model": lambda s: {"model": s, "args": {"lr": 0.1}},
    "net": lambda s: {"net": prefixed(s, "module."), "acc": 93.1},
    "ema": lambda s: {"ema": s},
    "lightning": lambda s: {"state_dict": prefixed(s, "model."), "hyper_parameters": {"a": 1}},
    "compiled": lambda s: prefixed(s, "module._orig_mod."),
    "nested": lambda s: {"checkpoint": {"model_state_dict": s}},
}


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_usual_wrappers_and_prefixes(tmp_path, wrapper, zipped):
    net = small()
    path = save(tmp_path / "a.pt", WRAPPERS[wrapper](net.state_dict()), zipped)
    found = fit_states(read_states(path), small(), path)
    assert found.tensors.keys() == net.state_dict().keys()
    assert all(torch.equal(value, found.tensors[name]) for name, value in net.state_dict().items())
    assert bool(found.notes) == (wrapper != "bare")
    assert found.mean == ()


def test_a_module_that_was_saved_whole(tmp_path):
    net = small()
    path = save(tmp_path / "a.pt", {"net": net})
    found = fit_states(read_states(path), small(), path)
    assert all(torch.equal(value, found.tensors[name]) for name, value in net.state_dict().items())


def test_safetensors_and_counters_that_old_files_lack(tmp_path):
    state = {name: value for name, value in small().state_dict().items() if "num_batches" not in name}
    save_file(state, tmp_path / "a.safetensors")
    found = fit_states(read_states(tmp_path / "a.safetensors"), small(), "a")
    assert int(found.tensors["1.num_batches_tracked"]) == 0


def test_several_that_differ_are_refused_with_their_names(tmp_path):
    net, other = small(), {name: value + 1 for name, value in small().state_dict().items()}
    path = save(tmp_path / "a.pt", {"model": net.state_dict(), "model_ema": other})
    with pytest.raises(ModelError, match=r"'model', 'model_ema'; choose one with \?key="):
        fit_states(read_states(path), small(), path)
    assert torch.equal(fit_states(read_states(path), small(), path, "model_ema").tensors["0.bias"], other["0.bias"])
    with pytest.raises(ModelError, match="no weights under key=swa; there are 'model', 'model_ema'"):
        fit_states(read_states(path), small(), path, "swa")
    twice = save(tmp_path / "b.pt", {"model": net.state_dict(), "copy": dict(net.state_dict())})
    assert fit_states(read_states(twice), small(), twice).tensors  # the same weights twice are no question


def test_two_networks_in_one_dict_are_refused(tmp_path):
    state = {**prefixed(small().state_dict(), "student."), **prefixed(small().state_dict(), "teacher.")}
    state["teacher.0.bias"] = state["teacher.0.bias"] + 1
    path = save(tmp_path / "a.pt", state)
    with pytest.raises(ModelError, match=r"'student\.', 'teacher\.'"):
        fit_states(read_states(path), small(), path)


@pytest.mark.parametrize(
    "names", [("normalize.mean", "normalize.std"), ("mu", "sigma"), ("normalizer.new_mean", "normalizer.new_std")]
)
def test_a_normaliser_goes_to_the_card(tmp_path, names):
    state = prefixed(small().state_dict(), "net.")
    state[names[0]] = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)
    state[names[1]] = torch.tensor([0.2, 0.3, 0.1]).view(1, 3, 1, 1)
    found = fit_states(read_states(save(tmp_path / "a.pt", state)), small(), "a")
    assert found.mean == pytest.approx((0.4, 0.5, 0.6))
    assert found.std == pytest.approx((0.2, 0.3, 0.1))
    # RobustBench's stand beside the weights, without a prefix.
    beside = {**small().state_dict(), "mu": state[names[0]], "sigma": state[names[1]]}
    assert fit_states(read_states(save(tmp_path / "b.pt", beside)), small(), "b").mean == found.mean


def test_dicts_in_dicts_without_end_are_read_once(tmp_path):
    """3,000³ ways lead to the innermost dict of a bomb; the weights beside it are still found."""
    inner: dict[str, object] = {"a": {"lr": 1}}
    for _ in range(3):
        inner = {f"k{i}": inner for i in range(3000)}
    path = save(tmp_path / "a.pt", {"bomb": inner, "model": small().state_dict()})
    assert list(read_states(path)) == ["model"]


def test_misfits_are_told(tmp_path):
    state = small().state_dict()
    state["3.weight"] = torch.zeros(7, 144)
    state["extra"] = torch.zeros(2)
    del state["0.bias"]
    path = save(tmp_path / "a.pt", {"model": prefixed(state, "module.")})
    with pytest.raises(ModelError) as error:
        fit_states(read_states(path), small(), path)
    for words in ("missing 0.bias", "unexpected extra", "3.weight (7, 144) instead of (5, 144)", "under 'module.'"):
        assert words in str(error.value)
    with pytest.raises(ModelError, match="no dict of tensors in it"):
        read_states(save(tmp_path / "b.pt", {"epoch": 3}))


# --- Names of wrappers inside, several networks in one file, heads that only training uses ---


class Parts(nn.Module):
    """As users have them: parts that are wrapped one by one."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.classifier = nn.Linear(4 * 36, 5)


def compiled_inside(net):
    net.features = torch.compile(net.features)
    return net


def parallel_inside(net):
    """As pytorch/examples wraps AlexNet and VGG."""
    net.features = nn.DataParallel(net.features)
    return net


INSIDE = {
    "_orig_mod": compiled_inside,
    "module": parallel_inside,
    "both": lambda net: nn.DataParallel(torch.compile(parallel_inside(net))),
}


@pytest.mark.parametrize("case", INSIDE)
def test_wrappers_inside_the_names(tmp_path, case):
    wrapped = INSIDE[case](Parts())
    path = save(tmp_path / "a.pt", {"state_dict": wrapped.state_dict()})
    found = fit_states(read_states(path), Parts(), path)
    assert all(torch.equal(value, found.tensors[name]) for name, value in Parts().state_dict().items())
    assert any("left out inside the names" in note for note in found.notes)


def test_a_prefix_chooses_between_networks_in_one_dict(tmp_path):
    net, other = small().state_dict(), {name: value + 1 for name, value in small().state_dict().items()}
    path = save(tmp_path / "a.pt", {**prefixed(net, "student."), **prefixed(other, "teacher.")})
    states = read_states(path)
    with pytest.raises(ModelError, match=r"'student\.', 'teacher\.'; choose one with \?prefix=…, for example"):
        fit_states(states, small(), path)
    for prefix in ("teacher", "teacher."):
        found = fit_states(states, small(), path, prefix=prefix)
        assert torch.equal(found.tensors["0.bias"], other["0.bias"])
        assert any("ignored in the checkpoint: student." in note for note in found.notes)
    with pytest.raises(ModelError, match=r"no weights under prefix=tutor; names begin with student\., .*teacher\."):
        fit_states(states, small(), path, prefix="tutor")


def test_a_copy_under_a_prefix_is_not_taken_in_silence(tmp_path):
    """The network itself and an average of its weights in one dict: before, the average was taken."""
    net, other = small().state_dict(), {name: value + 1 for name, value in small().state_dict().items()}
    path = save(tmp_path / "a.pt", {**net, **prefixed(other, "ema.")})
    with pytest.raises(ModelError, match=r"'', 'ema\.'; choose one with \?prefix=…, for example prefix=ema"):
        fit_states(read_states(path), small(), path)
    for prefix, wanted in (("", net), ("ema", other)):
        found = fit_states(read_states(path), small(), path, prefix=prefix)
        assert torch.equal(found.tensors["0.bias"], wanted["0.bias"])


def test_key_and_prefix_stand_in_a_reference(tmp_path):
    from tangency.models import build

    nets = {name: build("convnet", (3, 12, 12), 4, seed).module for seed, name in enumerate("abcd")}
    pairs = {
        key: {**prefixed(nets[one].state_dict(), "student."), **prefixed(nets[two].state_dict(), "teacher.")}
        for key, one, two in (("model", "a", "b"), ("model_ema", "c", "d"))
    }
    path = save(tmp_path / "gan.pt", {**pairs, "generator": nn.Linear(3, 3).state_dict()})
    reference = f"state_dict:{path}?arch=convnet&shape=3x12x12&{RAW}"
    found = load_model(f"{reference}&key=model_ema&prefix=student")
    x = torch.rand(2, 3, 12, 12)
    with torch.no_grad():
        assert torch.equal(found(x), nets["c"].eval()(x))
    with pytest.raises(ModelError, match=r"choose one with \?key="):
        load_model(f"{reference}&prefix=student")
    with pytest.raises(ModelError, match=r"choose one with \?prefix="):
        load_model(f"{reference}&key=model")


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
@pytest.mark.parametrize("built", [True, False])
def test_files_without_auxiliary_heads(tmp_path, name, built):
    """torchvision's own writer: built without them, or with them taken out of the state dict."""
    from torchvision import models

    from tangency.models import read_classifier, save_classifier

    net = getattr(models, name)(num_classes=5, aux_logits=built, init_weights=False, transform_input=False)
    state = random_state(net)
    net.load_state_dict(state)
    kept = {key: value for key, value in state.items() if not key.startswith(("aux", "AuxLogits"))}
    assert (len(kept) < len(state)) == built
    side = 80 if name == "inception_v3" else 48
    path = save(tmp_path / "a.pt", {"model": prefixed(kept, "module.")})
    found = load_model(f"torchvision:{name}?weights={path}&{RAW}&shape=3x{side}x{side}&transform_input=false")
    x = torch.rand(2, 3, side, side)
    with torch.no_grad():
        assert torch.allclose(found(x), net.eval()(x), rtol=1e-5, atol=1e-5)
    assert any("no auxiliary heads" in note for note in found.card.provenance["reading"])
    save_classifier(found, tmp_path / "b.safetensors")
    with torch.no_grad():
        assert torch.equal(read_classifier(tmp_path / "b.safetensors")(x), found(x))


def test_timms_inception_leaves_its_auxiliary_head_out(tmp_path):
    import timm

    state = timm.create_model("inception_v3", num_classes=5, aux_logits=True).state_dict()
    path = save(tmp_path / "a.pt", state)
    net = timm.create_model("inception_v3", num_classes=5)
    assert set(net.load_state_dict(state, strict=False).unexpected_keys)
    found = load_model(f"timm:inception_v3?weights={path}&{RAW}&shape=3x80x80&resize=no")
    x = torch.rand(1, 3, 80, 80)
    with torch.no_grad():
        assert torch.allclose(found(x), net.eval()(x), rtol=1e-5, atol=1e-5)
