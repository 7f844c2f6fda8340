"""Weights as training scripts save them."""

import warnings
from collections import OrderedDict

import torch
from torch import nn

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


def random_state(net, seed=0):
    torch.manual_seed(seed)
    state = net.state_dict()
    for name, value in state.items():
        if "running_var" in name or (value.dim() == 1 and name.endswith("weight")):
            state[name] = 0.5 + torch.rand_like(value)
        elif value.dim() == 1:
            state[name] = 0.1 * torch.randn_like(value)
    return state
