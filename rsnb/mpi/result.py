"""A finished multiplane image with its frame: what every recipe gives; views, films and exports are made of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rsnb.errors import InputError
from rsnb.geometry.poses import compose, invert
from rsnb.mpi.render import MpiRendering, RenderOptions, render_mpi
from rsnb.mpi.views import MpiFrame, mpi_camera, view_rows
from rsnb.scenes import PosedImages
from rsnb.training.checkpoints import load_checkpoint, save_checkpoint

_FORMAT = "rsnb mpi 1"


class Renderable:
    """Views and paths of whatever has `render(K, world_to_cam, size)`."""

    def view(self, views: PosedImages, name: str) -> MpiRendering:
        """What the named view's camera sees."""
        i = int(view_rows(views, [name])[0])
        return self.render(views.K[i], views.world_to_cam[i], tuple(views.images.shape[-2:]))

    def along(self, K: Sequence, poses: Sequence, size: tuple[int, int]) -> Iterator[MpiRendering]:
        """One rendering after the other along a path: K [M, 3, 3] or one for all [3, 3], poses [M, 4, 4]."""
        Ks = np.broadcast_to(np.asarray(K, np.float64), (len(poses), 3, 3))
        for intrinsics, pose in zip(Ks, poses, strict=True):
            yield self.render(intrinsics, pose, size)


@dataclass(frozen=True)
class OptimisedMpi(Renderable):
    """An optimised multiplane image.

    Attributes:
        mpi: [P, 4, H, W] float32: colour in 0..1 and sigma per unit length, in the frame.
        depths: [P] float64.
        frame: whose pixels the planes have.
        history: one {"step", "loss", "psnr", "seconds" ...} a step; psnr of the step's training views.
        seconds: of everything, start included.
        rendering: how its views are meant to be rendered.
    """

    mpi: Tensor
    depths: Tensor
    frame: MpiFrame
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    rendering: RenderOptions = field(default_factory=lambda: RenderOptions(mask_share=0.5))

    @torch.no_grad()
    def render(self, K, world_to_cam, size: tuple[int, int]) -> MpiRendering:
        """The view of a camera: K [3, 3] pixels, world_to_cam [4, 4] in the world of the scene, size (H, W)."""
        pose = compose(np.asarray(world_to_cam, np.float64), invert(self.frame.world_to_cam))
        return render_mpi(self.mpi, self.depths, mpi_camera(self.frame, K, pose, size, self.mpi.device), self.rendering)


def save_mpi(path: str | Path, result: OptimisedMpi) -> Path:
    """Write planes, depths, frame, history and way of rendering, with a sha256 beside it; gives the path back."""
    frame = result.frame
    return save_checkpoint(path, {
        "format": _FORMAT, "mpi": result.mpi.detach().cpu().contiguous(), "depths": result.depths.detach().cpu(),
        "K": torch.as_tensor(frame.K), "world_to_cam": torch.as_tensor(frame.world_to_cam), "size": list(frame.size),
        "near_far": [frame.near, frame.far], "inset": list(frame.inset), "history": list(result.history),
        "seconds": result.seconds, "rendering": asdict(result.rendering)})


def holds_mpi(state: Mapping[str, Any]) -> bool:
    """Whether a checkpoint was written by `save_mpi`."""
    return state.get("format") == _FORMAT


def load_mpi(path: str | Path, device: str = "cpu") -> OptimisedMpi:
    """Read what `save_mpi` wrote.

    Raises:
        InputError: see `load_checkpoint`; or a checkpoint of something else.
    """
    return mpi_from_state(load_checkpoint(path, device=device), path)


def mpi_from_state(state: Mapping[str, Any], where: str | Path) -> OptimisedMpi:
    """What `save_mpi` put into a checkpoint; `where` is for the error if it holds something else."""
    if not holds_mpi(state):
        raise InputError("this checkpoint holds no finished multiplane image", where=where,
                         mend="A checkpoint of a training holds a network: render it with the recipe it was made by")
    rendering = dict(state["rendering"])
    rendering["background"] = tuple(rendering["background"])
    frame = MpiFrame(state["K"].cpu().numpy(), tuple(state["size"]), state["world_to_cam"].cpu().numpy(),
                     *state["near_far"], tuple(state["inset"]))
    return OptimisedMpi(state["mpi"], state["depths"].cpu(), frame, state["history"], state["seconds"],
                        RenderOptions(**rendering))
