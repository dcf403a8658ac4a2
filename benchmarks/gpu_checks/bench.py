"""What all checks on a GPU share: sizes, the verdict, and clocks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch


class LeftOut(Exception):
    """A check that cannot be done here; the text says why."""


@dataclass
class Bench:
    """What the checks share.

    Attributes:
        device: torch's.
        size, planes, view_steps, repeats: of the work.
        decoder_seconds: wall time that the published decoder gets.
        lines: the verdict so far: text, and whether it is kept.
    """

    device: str
    size: int
    planes: int
    view_steps: int
    repeats: int
    decoder_seconds: float
    lines: list[tuple[str, bool]] = field(default_factory=list)

    @property
    def dry(self) -> bool:
        return self.device == "cpu"

    def promise(self, text: str, kept: bool) -> None:
        self.lines.append((text, bool(kept)))

    def promise_same(self, name: str, facts: dict[str, float], limits: dict[str, float]) -> None:
        """Differences from torch in float64 that no limit is exceeded by."""
        wrong = [f"{key} {facts[key]:.1e}" for key, limit in limits.items() if not facts[key] <= limit]
        self.promise(f"{name}: as torch in float64" + (f", but {', '.join(wrong)}" if wrong else ""), not wrong)

    def times(self, forward: Callable[[], object], both: Callable[[], object]) -> dict:
        """Microseconds of both, and on a GPU of every kernel of the latter."""
        row = {"forward": timed(self, forward), "both": timed(self, both)}
        return row if self.dry else row | {"kernels_us": kernel_times(both)}

    def promise_times(self, name: str, row: dict, forward_us: float, both_us: float) -> None:
        """Calls in a row of what `times` measured."""
        for kind, limit, title in (("forward", forward_us, "forward"), ("both", both_us, "forward + backward")):
            spent = row[kind]["in_a_row_us"]
            self.promise(f"{name}, {title}: {spent:.0f} us, at most {limit:g}", spent <= limit)


def need_triton() -> None:
    try:
        import triton  # noqa: F401
    except ImportError:
        raise LeftOut("triton is not installed") from None


def timed(bench: Bench, call: Callable[[], object]) -> dict[str, float]:
    """Microseconds of one call: alone, from its start to its end on the device; and in a row of 20, which hides what
    Python takes wherever the device is the slower."""
    for _ in range(min(5, bench.repeats)):
        call()
    if bench.dry:
        begin = time.perf_counter()
        call()
        return {"alone_us": (time.perf_counter() - begin) * 1e6, "in_a_row_us": None}

    def span(count: int) -> float:
        torch.cuda.synchronize()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(count):
            call()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) * 1e3 / count

    return {"alone_us": float(np.median([span(1) for _ in range(bench.repeats)])),
            "in_a_row_us": float(np.median([span(20) for _ in range(max(3, bench.repeats // 5))]))}


def kernel_times(call: Callable[[], object]) -> dict[str, float]:
    """Microseconds a call of every kernel on the GPU that takes at least 1."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as seen:
        for _ in range(10):
            call()
        torch.cuda.synchronize()
    times = {row.key[:60]: row.self_device_time_total / 10 for row in seen.key_averages()}
    return {name: spent for name, spent in sorted(times.items(), key=lambda item: -item[1]) if spent >= 1}
