"""What one step of a decoder costs, told before it starts: operations and memory, counted on tensors without data."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from rsnb.errors import InputError
from rsnb.mpi.decoder import Decoder
from rsnb.training.memory import free_bytes

_SLOW = 300e9  # operations of a step that take seconds on a few cores
_STATES = 4  # weights, gradients and Adam's two moments
_SCRATCH = 1.3  # what convolutions and the allocator take besides; measured on a CPU at 256 x 256 with 16 planes


@dataclass(frozen=True)
class DecoderCost:
    """One step: forward, and backward to the decoder's weights.

    Attributes:
        forward_flop: floating-point operations forward, a multiply-add counts two.
        step_flop: of forward and backward.
        saved_bytes: what forward keeps for backward.
        peak_bytes: with weights, gradients, Adam's moments, two more of the largest map for what backward makes, and
            an allowance for the libraries' own.
    """

    forward_flop: float
    step_flop: float
    saved_bytes: int
    peak_bytes: int


def decoder_cost(decoder: Decoder, size: tuple[int, int], planes: int) -> DecoderCost:
    """Count a step of the decoder in its current form, mode and precision; no picture-sized memory is taken.

    Args:
        decoder: the decoder; it is not changed.
        size: height and width of the picture, multiples of 128.
        planes: number of planes.

    Raises:
        InputError: a size that the decoder does not take.
    """
    ghost = copy.deepcopy(decoder).to("meta")
    dtype = ghost.head0.weight.dtype
    shapes = [(1, width, size[0] >> i, size[1] >> i) for i, width in enumerate(decoder.widths, start=1)]
    features = [torch.empty(shape, dtype=dtype, device="meta") for shape in shapes]
    codes = torch.empty(planes, decoder.codes(1).shape[1], dtype=dtype, device="meta")
    held: dict[int, torch.Tensor] = {}  # by storage; held fast, so that no storage is counted as two

    def keep(tensor):
        held.setdefault(tensor.untyped_storage()._cdata, tensor)
        return tensor

    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            mpis = ghost(features, codes)
        forward = counter.get_total_flops()
        sum(mpi.sum() for mpi in mpis).backward()
        step = counter.get_total_flops()
    weights = {p.untyped_storage()._cdata: p.untyped_storage().nbytes() for p in ghost.parameters()}
    sizes = [t.untyped_storage().nbytes() for key, t in held.items() if key not in weights]
    peak = round(_SCRATCH * (sum(sizes) + 2 * max(sizes))) + _STATES * sum(weights.values())
    return DecoderCost(forward, step, sum(sizes), peak)


def require_memory(decoder: Decoder, size: tuple[int, int], planes: int, device: str = "cpu",
                   free: int | None = None) -> DecoderCost:
    """The cost of a step, if it fits; on the CPU a warning where it fits but would take seconds.

    Args:
        decoder, size, planes: as for `decoder_cost`.
        device: where it is to run.
        free: bytes that are free there; None asks the system.

    Raises:
        InputError: it does not fit; says what to lower, or that it wants a GPU.
    """
    cost = decoder_cost(decoder, size, planes)
    free = free_bytes(device) if free is None else free
    on_cpu = torch.device(device).type == "cpu"
    what = (f"a step of the decoder at {size[0]} x {size[1]} with {planes} planes takes {cost.peak_bytes / 1e9:.1f} GB "
            f"and {cost.step_flop / 1e9:,.0f} GFLOP")
    lower = "lower the image size or the number of planes"
    if free is not None and cost.peak_bytes > free:
        mend = f"It wants a GPU: set device='cuda', or {lower}" if on_cpu else lower.capitalize()
        raise InputError(f"{what}, but only {free / 1e9:.1f} GB are free on {device}", where="planes", mend=mend)
    if on_cpu and cost.step_flop > _SLOW:
        warnings.warn(f"{what}: it wants a GPU; on this CPU each step lasts seconds. Set device='cuda', or {lower}.")
    return cost
