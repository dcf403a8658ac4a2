"""Which device a notebook's `device` parameter means."""

from __future__ import annotations

import torch

from rsnb.errors import InputError


def pick_device(name: str = "auto") -> str:
    """A torch device string: "auto" is the first GPU where there is one, else the CPU.

    Raises:
        InputError: an unknown name, or a GPU that is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError:
        kind = ""
    if kind not in ("cpu", "cuda"):
        raise InputError(f"{name!r} is no device", where="device", mend="Use 'auto', 'cpu', 'cuda' or 'cuda:1'")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError("torch finds no GPU here", where=f"device {name!r}", mend="Use device='cpu' or 'auto'")
    return name
