"""The machinery of all converters: a table of published keys, what each becomes, and the shape it must have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

import numpy as np

from rsnb.errors import InputError

Array = TypeVar("Array")  # numpy.ndarray or torch.Tensor: it has shape, and transpose or permute


@dataclass(frozen=True)
class Becomes:
    """What a published array becomes.

    Attributes:
        key: our key.
        shape: of the published array.
        axes: order of the published axes in ours (numpy's transpose); None keeps it.
    """

    key: str
    shape: tuple[int, ...]
    axes: tuple[int, ...] | None = None


def rename(
    state: Mapping[str, Array],
    table: Mapping[str, Becomes],
    where: str,
    ignored: Callable[[str], bool] = lambda key: False,
) -> dict[str, Array]:
    """The arrays of `table` under our keys, in the table's order.

    "module." in front (torch's DataParallel) is taken off, counters of batch normalisation are dropped.

    Args:
        state: {published key: array}.
        table: {published key: what it becomes}.
        where: name of the network, for messages.
        ignored: true for a key that the file may hold and nobody needs.

    Raises:
        InputError: a key that is neither in the table nor ignored, one missing, one of another shape, numbers that are
            not finite, or no mapping of arrays at all.
    """
    if not isinstance(state, Mapping):
        raise InputError(f"expected a mapping of keys to arrays, not {type(state).__name__}", where=where,
                         mend="Give the state dict; the module's docstring says how to read it")
    found: dict[str, Any] = {}
    for published, array in state.items():
        key = _bare(str(published))
        if key.endswith("num_batches_tracked") or ignored(key):
            continue
        if key not in table:
            close = _alike(key, table)
            raise InputError(f"unknown key {published!r}", where=where,
                             mend=f"Is it another network's file? The nearest known key is {close!r}")
        if key in found:
            raise InputError(f"key {key!r} stands there twice, once behind 'module.'", where=where)
        found[key] = array
    missing = [key for key in table if key not in found]
    if missing:
        raise InputError(f"{len(missing)} of {len(table)} keys are missing, first {missing[0]!r}", where=where,
                         mend="Give the whole state dict of this network")
    return {target.key: _converted(key, found[key], target, where) for key, target in table.items()}


def count(state: Mapping[str, Any]) -> int:
    """Number of trained parameters in a converted dict: running statistics of normalisations do not count."""
    return sum(int(np.prod(tuple(array.shape))) for key, array in state.items() if ".running_" not in key)


def flat(tree: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys joined by "/" (flax writes trees)."""
    result = {}
    for key, value in tree.items():
        result |= flat(value, f"{before}{key}/") if isinstance(value, Mapping) else {f"{before}{key}": value}
    return result


def convolution(published: str, ours: str, shape: tuple[int, ...], bias: bool = True) -> dict[str, Becomes]:
    """Table lines of a torch convolution or linear layer: weight of `shape`, and its bias."""
    lines = {f"{published}.weight": Becomes(f"{ours}.weight", shape)}
    return lines | ({f"{published}.bias": Becomes(f"{ours}.bias", shape[:1])} if bias else {})


def normalisation(published: str, ours: str, channels: int) -> dict[str, Becomes]:
    """Table lines of a torch batch normalisation."""
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{published}.{part}": Becomes(f"{ours}.{part}", (channels,)) for part in parts}


def _bare(key: str) -> str:
    while key.startswith("module."):
        key = key.removeprefix("module.")
    return key


def _alike(key: str, table: Mapping[str, Becomes]) -> str:
    return next(iter(get_close_matches(key, table, n=1, cutoff=0.0)), next(iter(table)))


def _converted(key: str, array: Any, target: Becomes, where: str) -> Any:
    shape = getattr(array, "shape", None)
    if shape is None or tuple(shape) != target.shape:
        found = f"shape {tuple(shape)}" if shape is not None else type(array).__name__
        raise InputError(f"{key!r} has {found}, expected {target.shape}", where=where,
                         mend="Is it a file of another size of the network?")
    finite = array.isfinite() if hasattr(array, "isfinite") else np.isfinite(array)
    if not bool(finite.all()):
        raise InputError(f"{key!r} holds numbers that are not finite", where=where, mend="Fetch the file again")
    if target.axes is None:
        return array
    if hasattr(array, "permute"):
        return array.permute(*target.axes).contiguous()
    return np.ascontiguousarray(array.transpose(target.axes))
