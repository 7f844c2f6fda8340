"""What the README shows next, with nothing installed but what its first command installs; run in the repository."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import timm
import torch
import transformers
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

TANGENCY = str(Path(sys.executable).parent / "tangency")


def run(command: list[str]) -> None:
    print("$ tangency", shlex.join(command), flush=True)
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([TANGENCY, *command], check=True, stdout=subprocess.DEVNULL, env=one_thread)


def write_onnx(path: str) -> None:
    """A linear network on images of 28 x 28 pixels."""
    weight = np.random.default_rng(0).normal(0, 0.05, (784, 10)).astype(np.float32)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 28, 28])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 10])
    nodes = [helper.make_node("Flatten", ["x"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])]
    graph = helper.make_graph(nodes, "net", [x], [logits], [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def write_hf(path: str) -> None:
    """A small vision transformer for the same images, as transformers writes it."""
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.ViTConfig(image_size=28, patch_size=7, num_channels=1, num_labels=10, **size)
    transformers.ViTForImageClassification(config).save_pretrained(path)


commands = re.findall(r"^\$ tangency (.*runs/quickstart[^#\n]*)", Path("README.md").read_text(encoding="utf-8"), re.M)
if len(commands) < 4:
    sys.exit(f"README.md: {len(commands)} commands on the quickstart, expected at least 4")
FEWER = {"measure": ["--limit", "60"], "generate": ["--limit", "4"]}  # images than the README's commands take
work = [shlex.split(shown) for shown in [*commands, "doctor"]]
work = [[*words, *FEWER.get(words[0], [])] for words in work]
torch.manual_seed(0)
write_onnx("runs/net.onnx")
write_hf("runs/net.hf")
save_file(timm.create_model("resnet10t", num_classes=10, in_chans=1).state_dict(), "runs/net.safetensors")
feeding = "range=0,1&mean=none"
models = (f"onnx:runs/net.onnx?{feeding}", f"hf:runs/net.hf?{feeding}")
models += (f"timm:resnet10t?weights=runs/net.safetensors&resize=28x28&{feeding}",)
for model in models:
    kind = model.partition(":")[0]
    less = ["--limit", "30", "--metrics", "cosine", "--out", f"runs/{kind}"]
    work.append(["measure", "--model", model, "--data", "fashion-mnist-5k", *less])
with ThreadPoolExecutor(os.cpu_count()) as lanes:  # one thread each; most of their time is Python's
    list(lanes.map(run, work))
run(["report", "runs/onnx", "runs/hf", "runs/timm"])
