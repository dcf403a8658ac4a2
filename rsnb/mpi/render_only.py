"""From any checkpoint to planes that render: a finished multiplane image, a network of ours, or one of the authors'."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from rsnb.errors import InputError
from rsnb.files import require_file
from rsnb.mpi.decode import decode_scene, load_model, model_from_state
from rsnb.mpi.model import ImMPI
from rsnb.mpi.result import OptimisedMpi, holds_mpi, mpi_from_state
from rsnb.scenes import PosedImages
from rsnb.training.checkpoints import load_checkpoint, record_path

Convert = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def open_model(path: str | Path, convert: Convert | None = None, device: str = "cpu") -> ImMPI:
    """The network of a checkpoint, ours or the authors'.

    Args:
        path: ours has its sha256 in a file beside it; any other file is taken for the authors'.
        convert: renames the dict of a published file to our keys: `rsnb.data.convert_immpi`.
        device: torch's.

    Raises:
        InputError: see `load_model`; or a foreign file without a converter, or one that is no checkpoint.
    """
    path = require_file(path, "checkpoint")
    if record_path(path).is_file():
        return load_model(path, device)
    if convert is None:
        raise InputError("this checkpoint is not one of ours, and there is no converter for it", where=path,
                         mend="Give convert=data.convert_immpi for the authors' files; ours has a .sha256 beside it")
    try:
        published = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises a dozen kinds for files that are no checkpoint
        raise InputError(f"torch cannot read it without running code ({type(error).__name__})", where=path,
                         mend="Fetch the file again, or check that it is a checkpoint") from error
    return model_from_state(convert(published), where=str(path)).to(device)


def open_mpi(path: str | Path, views: PosedImages, reference: str, near_far: tuple[float, float] | None = None,
             planes: int = 32, *, convert: Convert | None = None, device: str = "cpu") -> OptimisedMpi:
    """The planes of a checkpoint, without any optimisation.

    Args:
        path: what `save_mpi` wrote, or anything that `open_model` reads.
        views, reference, near_far, planes: for a network, as for `decode_scene`; a finished image has its own.
        convert, device: as for `open_model`.

    Raises:
        InputError: as `load_checkpoint`, `open_model` and `decode_scene`.
    """
    path = require_file(path, "checkpoint")
    if record_path(path).is_file() and holds_mpi(state := load_checkpoint(path, device=device)):
        return mpi_from_state(state, path)
    return decode_scene(open_model(path, convert, device), views, reference, near_far, planes, device=device)
