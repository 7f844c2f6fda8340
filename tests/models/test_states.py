"""Weights are found under the wrappers of training scripts; what is ambiguous is refused by name."""

import re
import warnings
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from tangency.errors import ModelError
from tangency.models.architectures.cifar import NAMES, build_cifar
from tangency.models.foreign.states import fit_states, read_states
from tangency.models.references import load_model

RAW = "range=0,1&mean=none"


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 5))


def save(path, content, zipped=True):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
    return path


def prefixed(state, prefix):
    return OrderedDict((prefix + name, value) for name, value in state.items())


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


# --- The CIFAR networks against their formulas, written out layer by layer with the names of the checkpoints ---


def functional(state, name, x):
    """The published forward pass of robustness' and RobustBench's networks, from a state_dict alone."""

    def bn(y, key):
        return F.batch_norm(
            y, state[f"{key}.running_mean"], state[f"{key}.running_var"], state[f"{key}.weight"], state[f"{key}.bias"]
        )

    def conv(y, key, stride=1):
        w = state[f"{key}.weight"]
        return F.conv2d(y, w, None, stride, w.shape[-1] // 2)

    if name.startswith("wrn"):
        y = conv(x, "conv1")
        for stage in (1, 2, 3):
            count = len({key.split(".")[2] for key in state if key.startswith(f"block{stage}.")})
            for i in range(count):
                at, stride = f"block{stage}.layer.{i}", 2 if stage > 1 and i == 0 else 1
                inner = F.relu(bn(y, f"{at}.bn1"))
                kept = conv(inner, f"{at}.convShortcut", stride) if f"{at}.convShortcut.weight" in state else y
                y = kept + conv(F.relu(bn(conv(inner, f"{at}.conv1", stride), f"{at}.bn2")), f"{at}.conv2")
        y = F.avg_pool2d(F.relu(bn(y, "bn1")), 8).flatten(1)
        return F.linear(y, state["fc.weight"], state["fc.bias"])
    if name.startswith("vgg"):
        convolutions = sorted({int(key.split(".")[1]) for key, value in state.items() if value.dim() == 4})
        for i, at in enumerate(convolutions):
            x = F.conv2d(x, state[f"features.{at}.weight"], state[f"features.{at}.bias"], padding=1)
            x = F.relu(bn(x, f"features.{at + 1}"))
            # A maximum stands between an activation and a convolution that does not follow at once, and at the end.
            if i + 1 == len(convolutions) or convolutions[i + 1] > at + 3:
                x = F.max_pool2d(x, 2)
        return F.linear(x.flatten(1), state["classifier.weight"], state["classifier.bias"])
    if name.startswith("densenet"):
        y = conv(x, "conv1")
        for block in (1, 2, 3, 4):
            for i in range(len({key.split(".")[1] for key in state if key.startswith(f"dense{block}.")})):
                z = conv(F.relu(bn(y, f"dense{block}.{i}.bn1")), f"dense{block}.{i}.conv1")
                z = conv(F.relu(bn(z, f"dense{block}.{i}.bn2")), f"dense{block}.{i}.conv2")
                y = torch.cat([z, y], 1)
            if block < 4:
                y = F.avg_pool2d(conv(F.relu(bn(y, f"trans{block}.bn")), f"trans{block}.conv"), 2)
        y = F.avg_pool2d(F.relu(bn(y, "bn")), 4).flatten(1)
        return F.linear(y, state["linear.weight"], state["linear.bias"])
    y = conv(x, "conv1")
    y = y if name.startswith("preact") else F.relu(bn(y, "bn1"))
    for stage in (1, 2, 3, 4):
        for i in range(len({key.split(".")[1] for key in state if key.startswith(f"layer{stage}.")})):
            at, stride = f"layer{stage}.{i}", 2 if stage > 1 and i == 0 else 1
            short = f"{at}.shortcut.0.weight" in state
            if name.startswith("preact"):
                inner = F.relu(bn(y, f"{at}.bn1"))
                kept = conv(inner if "v2" in name else y, f"{at}.shortcut.0", stride) if short else y
                y = kept + conv(F.relu(bn(conv(inner, f"{at}.conv1", stride), f"{at}.bn2")), f"{at}.conv2")
                continue
            kept = bn(conv(y, f"{at}.shortcut.0", stride), f"{at}.shortcut.1") if short else y
            if f"{at}.conv3.weight" in state:
                z = F.relu(bn(conv(y, f"{at}.conv1"), f"{at}.bn1"))
                z = F.relu(bn(conv(z, f"{at}.conv2", stride), f"{at}.bn2"))
                y = F.relu(bn(conv(z, f"{at}.conv3"), f"{at}.bn3") + kept)
            else:
                z = F.relu(bn(conv(y, f"{at}.conv1", stride), f"{at}.bn1"))
                y = F.relu(bn(conv(z, f"{at}.conv2"), f"{at}.bn2") + kept)
    y = F.relu(bn(y, "bn")) if name.endswith("bn") else y
    return F.linear(F.avg_pool2d(y, 4).flatten(1), state["linear.weight"], state["linear.bias"])


def random_state(net, seed=0):
    torch.manual_seed(seed)
    state = net.state_dict()
    for name, value in state.items():
        if "running_var" in name or (value.dim() == 1 and name.endswith("weight")):
            state[name] = 0.5 + torch.rand_like(value)
        elif value.dim() == 1:
            state[name] = 0.1 * torch.randn_like(value)
    return state


@pytest.mark.parametrize(
    "name",
    [
        "resnet18thin",
        "resnet50",
        "preactresnet18",
        "preactresnet18v2bn",
        "wrn-10-1",
        "wrn-16-2",
        "vgg11",
        "vgg16",
        "densenet_cifar",
    ],
)
def test_cifar_networks_are_the_published_ones(name):
    net = build_cifar(name, (3, 32, 32), 10)
    state = random_state(net)
    net.load_state_dict(state)
    x = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = functional(state, name, x)
        assert torch.allclose(net.eval()(x), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_unknown_cifar_networks():
    assert "resnet152" in NAMES
    for name, words in (("resnet19", "Did you mean"), ("wrn-27-10", r"6 n \+ 4")):
        with pytest.raises(ModelError, match=words):
            build_cifar(name, (3, 32, 32), 10)


# --- Checkpoints in the layouts of robustness and RobustBench ---


def robustness_checkpoint(state, mean, std):
    """As `robustness.train` saves: DataParallel around AttackerModel, with its attacker's copies."""
    model = OrderedDict()
    for scope in ("module.normalizer", "module.attacker.normalize"):
        model[f"{scope}.new_mean"] = torch.tensor(mean).view(3, 1, 1)
        model[f"{scope}.new_std"] = torch.tensor(std).view(3, 1, 1)
    for scope in ("module.model.", "module.attacker.model."):
        model.update(prefixed(state, scope))
    schedule = {"step_size": 50, "lr_lambdas": [len]}
    return {"model": model, "optimizer": {"state": {}}, "schedule": schedule, "epoch": 150, "prec1": torch.tensor(0.8)}


@pytest.mark.parametrize("zipped", [True, False])
def test_a_robustness_checkpoint_of_cifar(tmp_path, zipped):
    net = build_cifar("resnet18thin", (3, 32, 32), 10)
    state, mean, std = random_state(net), (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)
    net.load_state_dict(state)
    path = save(tmp_path / "a.ckpt", robustness_checkpoint(state, mean, std), zipped)
    found = load_model(f"robustness:{path}?arch=resnet18thin&dataset=cifar")
    x = torch.rand(3, 3, 32, 32)
    fed = (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.no_grad():
        assert torch.allclose(found(x), net.eval()(fed), rtol=1e-5, atol=1e-4)
    assert found.card.mean == pytest.approx(mean)
    assert found.card.classes[3] == "cat"
    assert found.card.input_range == (0.0, 1.0)
    assert not any(part.training for part in found.modules())
    notes = " ".join(found.card.provenance["reading"])
    assert "prefix 'module.model.' taken off" in notes
    assert "mean and std taken from the checkpoint" in notes


def test_a_checkpoint_of_robust_models_transfer(tmp_path):
    """ImageNet: torchvision's names of layers, 1000 classes, 224 pixels."""
    from torchvision.models import squeezenet1_1

    net = squeezenet1_1(num_classes=1000).eval()
    path = save(
        tmp_path / "a.ckpt", robustness_checkpoint(net.state_dict(), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    )
    found = load_model(f"robustness:{path}?arch=squeezenet1_1&dataset=imagenet")
    assert found.card.shape == (3, 224, 224)
    x = torch.rand(1, 3, 224, 224)
    fed = (x - torch.tensor(found.card.mean).view(3, 1, 1)) / torch.tensor(found.card.std).view(3, 1, 1)
    with torch.no_grad():
        assert torch.allclose(found(x), net(fed), rtol=1e-5, atol=1e-4)


def test_a_checkpoint_of_restricted_imagenet(tmp_path):
    """Nine classes and a mean of their own, as robustness.datasets.RestrictedImageNet has them."""
    from torchvision.models import squeezenet1_1

    net = squeezenet1_1(num_classes=9).eval()
    path = save(tmp_path / "a.ckpt", {"model": prefixed(net.state_dict(), "module.model.")})
    found = load_model(f"robustness:{path}?arch=squeezenet1_1&dataset=restricted_imagenet")
    assert (found.card.shape, found.classes, found.card.classes[8]) == ((3, 224, 224), 9, "insect")
    assert found.card.mean == (0.4717, 0.4499, 0.3837)
    assert found.card.std == (0.2600, 0.2516, 0.2575)
    with pytest.raises(ModelError, match="do not fit CifarResNet"):
        load_model(f"robustness:{path}?arch=resnet18&dataset=cifar")


def test_robustness_of_another_layout_is_told(tmp_path):
    path = save(tmp_path / "a.ckpt", {"model": prefixed(small().state_dict(), "module.model.")})
    with pytest.raises(ModelError, match="do not fit CifarResNet: missing"):
        load_model(f"robustness:{path}?arch=resnet18&dataset=cifar")
    for options, words in (
        ("dataset=cifar", "no arch"),
        ("arch=resnet18", "no dataset"),
        ("arch=resnet18&dataset=svhn", "unknown dataset"),
    ):
        with pytest.raises(ModelError, match=words):
            load_model(f"robustness:{path}?{options}")


def test_robustbench_checkpoints_load_without_it(tmp_path):
    net = build_cifar("preactresnet18", (3, 32, 32), 10)
    net.load_state_dict(random_state(net))
    path = save(tmp_path / "cifar_linf_8.pt", {"state_dict": prefixed(net.state_dict(), "module.")})
    found = load_model(f"robustbench:Wong2020Fast?weights={path}")
    assert found.card.std == (0.2471, 0.2435, 0.2616)
    x = torch.rand(2, 3, 32, 32)
    fed = (x - torch.tensor(found.card.mean).view(3, 1, 1)) / torch.tensor(found.card.std).view(3, 1, 1)
    with torch.no_grad():
        assert torch.allclose(found(x), net.eval()(fed), rtol=1e-5, atol=1e-4)
    with pytest.raises(ModelError, match=r"Did you mean 'Wong2020Fast'.*state_dict:FILE"):
        load_model(f"robustbench:Wong2020?weights={path}")
    with pytest.raises(ModelError, match=re.escape("tangency[robustbench]")):
        load_model("robustbench:Carmon2019Unlabeled")


def test_the_unused_block_of_trades_is_left_out(tmp_path):
    net = build_cifar("wrn-10-1", (3, 32, 32), 10)
    state = {**net.state_dict(), **{f"sub_{k}": v for k, v in net.state_dict().items() if k.startswith("block1.")}}
    path = save(tmp_path / "a.pt", state)
    found = load_model(f"state_dict:{path}?arch=cifar:wrn-10-1&shape=3x32x32&{RAW}")
    with torch.no_grad():
        assert torch.equal(found(torch.ones(1, 3, 32, 32)), net.eval()(torch.ones(1, 3, 32, 32)))


def test_state_dicts_of_our_own_networks(tmp_path):
    from tangency.models import build

    net = build("convnet", (1, 12, 12), 4, mean=(), std=(), norm="group", channels=(3, 4, 5)).eval()
    path = save(tmp_path / "a.pth", net.module.state_dict())
    found = load_model(f"{path}?arch=convnet&norm=group&channels=3,4,5&shape=1x12x12&{RAW}&classes=a,b,c,d")
    x = torch.rand(2, 1, 12, 12)
    assert torch.equal(found(x), net(x))
    assert found.card.classes == ("a", "b", "c", "d")
    scaled = load_model(f"{path}?arch=convnet&norm=group&channels=3,4,5&shape=1x12x12&range=0,255&mean=none")
    assert torch.allclose(scaled(x), net.module(255 * x), atol=1e-4)


QUESTIONS = {
    "arch": ("shape=1x12x12", "no arch; give"),
    "unknown arch": ("arch=resnet9&shape=1x12x12", "unknown architecture"),
    "normalisation": ("arch=convnet&shape=1x12x12", "nothing says how its images are normalised"),
    "shape": (f"arch=convnet&{RAW}", "nothing says what images"),
    "channels": (f"arch=convnet&shape=3x12x12&{RAW}", "a network for images of 1 channel, these have 3"),
    "classes": (f"arch=convnet&shape=1x12x12&{RAW}&classes=7", "7 classes were named, the network has 4"),
    "half a normalisation": ("arch=convnet&shape=1x12x12&mean=.5", "mean without std"),
    "range": ("arch=convnet&shape=1x12x12&range=1,0&mean=none", "low,high"),
    "words": ("arch=convnet&shape=1x12x12&mean=a&std=b", "numbers with commas"),
    "size": ("arch=convnet&shape=12x12", "3x32x32"),
    "option": ("arch=convnet&shap=1x12x12", "Did you mean 'shape'"),
}


@pytest.mark.parametrize("case", QUESTIONS)
def test_what_nothing_says_is_asked_for_by_name(tmp_path, case):
    from tangency.models import build

    path = save(tmp_path / "a.pt", build("convnet", (1, 12, 12), 4).module.state_dict())
    options, words = QUESTIONS[case]
    with pytest.raises(ModelError, match=words):
        load_model(f"state_dict:{path}?{options}")


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

    from tangency.models import load_classifier, save_classifier

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
        assert torch.equal(load_classifier(tmp_path / "b.safetensors")(x), found(x))


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
