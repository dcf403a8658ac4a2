"""From a trained network to a multiplane image, without any optimisation; and the network from a checkpoint.

One pass of encoder and decoder gives the planes (Wu, Zou, Shi, IEEE TGRS 60, 2022). The weights may be ours, of a
cross-scene or a per-scene training, or the authors', converted; those ask for the published plane code, in the plane
count that they were trained with, and for batch statistics.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rsnb.errors import InputError
from rsnb.mpi.decoder import Decoder
from rsnb.mpi.decoder_loss import Switches
from rsnb.mpi.encoder import WIDTHS, Encoder
from rsnb.mpi.model import ImMPI
from rsnb.mpi.planes import plane_depths
from rsnb.mpi.result import OptimisedMpi
from rsnb.mpi.views import MpiFrame, check_range, depth_range, padded_frame, view_rows
from rsnb.scenes import PosedImages
from rsnb.training.checkpoints import load_checkpoint
from rsnb.training.memory import free_bytes

SETTINGS = ("trunk", "bottleneck_norm", "plane_code", "statistics")
NETWORK_SIDE = 128  # height and width that the network takes are multiples of it
_NUMBERS_HELD = 80  # a pixel and plane, while the decoder runs without gradients; 68 to 95 measured on a CPU


def decode_scene(model: ImMPI, views: PosedImages, reference: str, near_far: tuple[float, float] | None = None,
                 planes: int = 32, *, device: str = "cpu", switches: Switches | None = None) -> OptimisedMpi:
    """Planes of one picture by one pass of the network.

    Args:
        model: encoder and decoder. Mode and running statistics stay as they are; it is moved to the device.
        views: with the reference picture; others are not looked at. Sides that are no multiples of 128 are padded.
        reference: name of the view whose frame the planes fill.
        near_far: z depth of the first and last plane, unit of the poses; None takes the reference view's own.
        planes: P. Any number for the mended code with kept statistics; else the one of the training.
        device: torch's.
        switches: how views are rendered. None: as published where the model's plane code is the published one.

    Returns:
        `OptimisedMpi` with an empty history.

    Raises:
        InputError: a bad range or reference, too little memory, or switches that ask for another plane code or other
            statistics than the model has.
    """
    begin = time.perf_counter()
    if views.camera != "pinhole":
        raise InputError("multiplane images are made from perspective pictures", where="views",
                         mend="Cut perspective views out of the panoramas")
    switches = _switches_of(model, switches)
    near_far = near_far or depth_range(views, reference)
    check_range(*near_far)
    frame = network_frame(views, reference, near_far)
    _require_memory(frame.size, planes, device)
    image = network_picture(views.images[view_rows(views, [reference])[0]], frame, device)
    image = image.to(model.decoder.head0.weight.dtype)
    with torch.no_grad():
        before = [(module, module.training) for module in model.modules()]
        model.to(device).eval()
        try:
            mpi = model(image, planes)[0].float()
        finally:
            for module, training in before:
                module.training = training
    return OptimisedMpi(mpi, plane_depths(*near_far, planes), frame, [], time.perf_counter() - begin,
                        switches.rendering())


def load_model(path: str | Path, device: str = "cpu") -> ImMPI:
    """The network of a checkpoint of a cross-scene or per-scene training.

    Raises:
        InputError: see `load_checkpoint`; a checkpoint of something else, or of another network.
    """
    state = load_checkpoint(path, device=device)
    settings = state.get("settings")
    if not isinstance(state.get("model"), Mapping) or not isinstance(settings, Mapping) \
            or not set(SETTINGS) <= set(settings):
        raise InputError("this checkpoint holds no network of ImMPI", where=path,
                         mend="Name one that a cross-scene or per-scene training has written; a finished multiplane "
                              "image is read by load_mpi, the authors' files go through their converter")
    return model_from_state(state["model"], where=str(path), **{key: settings[key] for key in SETTINGS}).to(device)


def model_from_state(state: Mapping[str, Tensor], *, trunk: str | None = None, bottleneck_norm: str = "batch",
                     plane_code: str = "published", statistics: str = "published",
                     where: str = "weights of ImMPI") -> ImMPI:
    """A network with the weights of a state dict, keys "encoder. ..." and "decoder. ...".

    The defaults are those of the authors' checkpoints, converted by `rsnb.data.weights.immpi.convert_immpi`.

    Args:
        state: all weights.
        trunk: "resnet18" or "resnet50"; None reads it off the state.
        bottleneck_norm, plane_code, statistics: see `Decoder`.
        where: for errors.

    Raises:
        InputError: a key that is missing, unknown or of another shape.
    """
    if trunk is None:
        trunk = "resnet50" if "encoder.layer1.0.conv3.weight" in state else "resnet18"
    return new_model(trunk, bottleneck_norm, plane_code, statistics).load(state, where)


def new_model(trunk: str = "resnet18", bottleneck_norm: str = "batch", plane_code: str = "mended",
              statistics: str = "mended", seed: int = 0) -> ImMPI:
    """A network with weights drawn from the seed; torch's global generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = Encoder(trunk, statistics)
        return ImMPI(encoder, Decoder(plane_code=plane_code, bottleneck_norm=bottleneck_norm, statistics=statistics,
                                      widths=encoder.widths))


def model_settings(model: ImMPI) -> dict[str, Any]:
    """What makes a network what it is besides its weights: the keys that `load_model` looks for in the settings.

    Raises:
        InputError: encoder and decoder normalise by different statistics.
    """
    trunk = next(name for name, widths in WIDTHS.items() if widths == model.encoder.widths)
    found = {model.encoder.bn1.statistics, model.decoder.bottleneck.statistics}
    if len(found) > 1:
        raise InputError("encoder and decoder normalise by different statistics", where="model",
                         mend="Build both with the same `statistics`")
    return {"trunk": trunk, "bottleneck_norm": model.decoder.bottleneck.norm, "plane_code": model.decoder.plane_code,
            "statistics": found.pop()}


def network_frame(views: PosedImages, reference: str, near_far: tuple[float, float]) -> MpiFrame:
    """The reference camera's frame, grown to the right and below to multiples of 128, as the network wants them."""
    return padded_frame(views, reference, (), near_far, 0.0, NETWORK_SIDE)


def network_picture(image, frame: MpiFrame, device: str = "cpu") -> Tensor:
    """A picture [3, H, W] on the device, its border pixels repeated out to the frame [3, H', W']."""
    return frame.pad(torch.as_tensor(image, device=device)[None])[0]


def _require_memory(size: tuple[int, int], planes: int, device: str) -> None:
    needed, free = 4 * _NUMBERS_HELD * planes * size[0] * size[1], free_bytes(device)
    if free is not None and needed > free:
        raise InputError(f"to decode {planes} planes of {size[0]} x {size[1]} takes {needed / 1e9:.1f} GB, and "
                         f"{free / 1e9:.1f} GB are free on {device}", where="planes",
                         mend="Lower the number of planes or the size of the pictures")


def _switches_of(model: ImMPI, switches: Switches | None) -> Switches:
    own = model_settings(model)
    if switches is None:
        return Switches(plane_code=own["plane_code"], statistics=own["statistics"], mask=own["plane_code"])
    for name in ("plane_code", "statistics"):
        if getattr(switches, name) != own[name]:
            raise InputError(f"{name} is {own[name]!r} in the model and {getattr(switches, name)!r} in the switches",
                             where="switches", mend="Set the switch as the model was trained with")
    return switches
