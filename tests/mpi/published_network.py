"""ImMPI as its authors run it, written from the fact sheet under the published keys; nothing of rsnb.mpi is used."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F

from rsnb.data.weights.immpi import decoder_table
from rsnb.data.weights.trunks import resnet_table


@functools.cache
def published_state(seed=0, spread=0.05):
    """Random weights under the published keys, statistics of normalisations unlike a fresh network's."""
    rng = np.random.default_rng(seed)
    state = {key: torch.from_numpy(rng.normal(0, spread, row.shape)) for key, row in decoder_table().items()}
    for key, value in state.items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 2, generator=torch.Generator().manual_seed(seed))
        elif value.dim() == 1:
            value.add_(0.5)
    return state


def published_network(state, features, codes, training):
    """The published decoder: every plane with its own copy of all maps."""
    def norm(y, key):
        mean, var = (state[f"{key}.{part}"].clone() for part in ("running_mean", "running_var"))
        return F.batch_norm(y, mean, var, state[f"{key}.weight"], state[f"{key}.bias"], training)

    def squash(x, name):
        weight = state[f"{name}.0.weight"]
        return F.leaky_relu(norm(F.conv2d(x, weight, padding=weight.shape[-1] // 2), f"{name}.1"), 0.1)

    def conv3(x, key):
        x = torch.nn.ReflectionPad2d(1)(x)
        return F.conv2d(x, state[f"{key}.conv.weight"], state[f"{key}.conv.bias"])

    def planes(x):
        copies = x.repeat(len(codes), 1, 1, 1)
        return torch.cat([copies, codes[:, :, None, None].repeat(1, 1, *x.shape[-2:])], 1)

    def halve(x):
        return torch.nn.MaxPool2d(3, stride=2, padding=1)(x)

    double = torch.nn.UpsamplingNearest2d(scale_factor=2)
    x = squash(halve(squash(halve(features[4]), "conv_down1")), "conv_down2")
    x = planes(squash(double(squash(double(x), "conv_up1")), "conv_up2"))
    outputs = {}
    for i in range(4, -1, -1):
        for n in range(2):
            key = f"convs.(-'-u-p-c-o-n-v-'-,- -{i}-,- -{n}-)"
            if n == 1:
                x = double(x)
                x = torch.cat([x, planes(features[i - 1])], 1) if i > 0 else x
            x = F.elu(norm(conv3(x, f"{key}.conv"), f"{key}.bn"))
        if i < 4:
            y = conv3(x, f"convs.(-'-d-i-s-p-c-o-n-v-'-,- -{i}-)")
            outputs[i] = torch.cat([torch.sigmoid(y[:, :3]), y[:, 3:].abs() + 1e-4], 1)
    return [outputs[s] for s in range(4)]


@functools.cache
def published_encoder_state(seed=1):
    """Random weights of a ResNet-18 under the keys of `feature_generator`, large enough to keep its maps alive."""
    rng = np.random.default_rng(seed)
    state = {}
    for key, row in resnet_table("resnet18", "encoder.").items():
        spread = math.sqrt(2 / math.prod(row.shape[1:])) if len(row.shape) > 1 else 0.1
        state[key] = torch.from_numpy(rng.normal(0 if len(row.shape) > 1 else 0.6, spread, row.shape))
    return state


def published_features(state, image):
    """Five maps of a picture [3, H, W] in 0..1 by a ResNet-18 in training mode."""
    def norm(y, key):
        return F.batch_norm(y, None, None, state[f"encoder.{key}.weight"], state[f"encoder.{key}.bias"], True)

    def conv(x, key, **how):
        return F.conv2d(x, state[f"encoder.{key}.weight"], **how)

    mean, spread = (torch.tensor(v, dtype=image.dtype)[:, None, None]
                    for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = torch.relu(norm(conv(((image - mean) / spread)[None], "conv1", stride=2, padding=3), "bn1"))
    maps, x = [x], F.max_pool2d(x, 3, 2, 1)
    for stage in range(1, 5):
        for block in range(2):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = torch.relu(norm(conv(x, f"{name}.conv1", stride=stride, padding=1), f"{name}.bn1"))
            y = norm(conv(y, f"{name}.conv2", padding=1), f"{name}.bn2")
            if stride == 2:
                x = norm(conv(x, f"{name}.downsample.0", stride=2), f"{name}.downsample.1")
            x = torch.relu(x + y)
        maps.append(x)
    return maps


def published_codes(count):
    """[P, 21] float64: 21 lists of P numbers, one list after the other, read off in rows of 21."""
    scalars = [0.01 + 0.99 * p / (count - 1) for p in range(count)]
    lists = [scalars] + [[f(2.0**k * s) for s in scalars] for k in range(10) for f in (math.sin, math.cos)]
    return torch.tensor([number for row in lists for number in row], dtype=torch.float64).reshape(count, 21)
