"""Ratios against a baseline in the same run, under two settings of the allocator, with a verdict and a record.

Page faults of large buffers change a baseline's time by up to three times: the allocator reads its settings when a
process starts, so each setting is a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

# Threads of torch that wait, sleep: spinning, they hold up each other whenever the machine has other work.
WAITING = {"OMP_WAIT_POLICY": "passive"}
ALLOCATORS = {
    "default": {},
    "freed memory kept": {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184",
                          "MALLOC_TOP_PAD_": "268435456"},
}
COLUMNS = f"{'':28}{'forward ms':>12}{'(cpu)':>9}{'ratio':>8}{'both ms':>11}{'(cpu)':>9}{'ratio':>8}"
Line = tuple[str, bool]  # of the verdict: text, and whether it is kept


@dataclass(frozen=True)
class Benchmark:
    """One script.

    Attributes:
        script: its `__file__`; the record lies in results/ beside it.
        about: its first line.
        record: name of the record.
        title: of the work, for the first line that is printed.
        size: numbers that say how large the work is, for the record.
        measure: of the number of repeats, what one setting finds, as JSON.
        report: prints what a setting found; its lines of the verdict.
    """

    script: str
    about: str
    record: str
    title: str
    size: Sequence[int]
    measure: Callable[[int], dict]
    report: Callable[[str, dict], list[Line]]


def take_turns(calls: Mapping[Hashable, Callable[[], object]], repeats: int) -> dict[Hashable, np.ndarray]:
    """Wall and CPU seconds [repeats, 2] of every call, one after the other in each round; a first round warms up."""
    times: dict[Hashable, list] = {key: [] for key in calls}
    for _ in range(repeats + 1):
        for key, call in calls.items():
            cpu, wall = time.process_time(), time.perf_counter()
            call()
            times[key].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {key: np.array(spent[1:]) for key, spent in times.items()}


def summary(times: np.ndarray, baseline: np.ndarray) -> dict[str, float]:
    """Medians of wall and CPU time [repeats, 2], and the median ratio of the baseline's to them, repeat by repeat:
    the two stood side by side, and other work on the machine held up both."""
    wall, cpu = np.median(times, axis=0) * 1e3
    ratio_wall, ratio_cpu = np.median(baseline / times, axis=0)
    return {"wall_ms": float(wall), "cpu_ms": float(cpu), "ratio_wall": float(ratio_wall),
            "ratio_cpu": float(ratio_cpu)}


def table(times: Mapping[tuple[str, str], np.ndarray], base: str) -> dict[str, dict[str, dict[str, float]]]:
    """{way: {kind: summary}} of the times of (way, kind), each against the way `base` of the same kind."""
    found: dict[str, dict] = {}
    for (name, kind), spent in times.items():
        found.setdefault(name, {})[kind] = summary(spent, times[base, kind])
    return found


def print_times(times: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """A row a way, as `COLUMNS` heads them."""
    for name, kinds in times.items():
        print(f"{name:28}" + "".join(f"{t['wall_ms']:12.1f}{t['cpu_ms']:9.0f}{t['ratio_wall']:8.1f}"
                                     for t in kinds.values()))


def print_parity(label: str, parity: Mapping[str, Mapping[str, float]],
                 allowed: Callable[[str], Mapping[str, float]]) -> list[Line]:
    """Print how far every way is from the baseline; a line for each that is farther than its limits."""
    print("  Differences from the original's way in float64:")
    lines = []
    for name, facts in parity.items():
        print(f"  {name}: " + ", ".join(f"{key} {value:.1e}" for key, value in facts.items()))
        wrong = [f"{key} {facts[key]:.1e}, allowed {limit:g}" for key, limit in allowed(name).items()
                 if not facts[key] <= limit]
        if wrong:
            lines.append((f"{label}: {name} renders something else ({'; '.join(wrong)})", False))
    return lines


def promise(label: str, name: str, kind: str, row: Mapping[str, float], limit: float) -> Line:
    """That a way is at least so many times as fast as the baseline."""
    ratio = row["ratio_wall"]
    title = "forward" if kind == "forward" else "forward + backward"
    return f"{label}: {name}, {title}: {ratio:.1f} times as fast, at least {limit:g}", ratio >= limit


def main(benchmark: Benchmark) -> int:
    """Run the script as it was asked; its exit code."""
    parser = argparse.ArgumentParser(description=benchmark.about)
    parser.add_argument("--quick", action="store_true", help="3 repeats")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path(benchmark.script).parent / "results" / benchmark.record)
    parser.add_argument("--one-setting", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    repeats = 3 if args.quick else args.repeats
    if args.one_setting:
        print(json.dumps(benchmark.measure(repeats)))
        return 0
    print(f"{benchmark.title}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    results, lines = {}, []
    for setting, variables in ALLOCATORS.items():
        done = subprocess.run([sys.executable, benchmark.script, "--one-setting", "--repeats", str(repeats)],
                              check=True, env=os.environ | WAITING | variables, stdout=subprocess.PIPE, text=True)
        results[setting] = json.loads(done.stdout)
        lines += benchmark.report(setting, results[setting])
    print()
    for line, kept in lines:
        print("kept  " if kept else "MISSED", line)
    args.out.write_text(json.dumps({
        "machine": platform.processor() or platform.machine(), "cores": os.cpu_count(), "torch": torch.__version__,
        "threads": torch.get_num_threads(), "size": list(benchmark.size), "repeats": repeats,
        "settings": results, "verdict": [{"line": line, "kept": kept} for line, kept in lines]}, indent=1) + "\n")
    return 0 if all(kept for _, kept in lines) else 1
