"""Rows of a picture in threads of our own, each with one thread of torch.

Torch splits every elementwise operation among its threads and waits for all of them; with a dozen operations a plane
the waiting costs more than the work. A thread that takes some rows through all planes waits once. Torch lets go of
Python's lock while it computes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import Any

import torch

LEAST_ROWS = 32  # of a band: below it a thread is not worth its start


def bands(height: int, device: torch.device | str = "cpu") -> list[slice]:
    """Rows 0 ... height in as many pieces as torch has threads; one piece on a GPU and for small pictures."""
    count = 1 if torch.device(device).type != "cpu" else min(torch.get_num_threads(), max(1, height // LEAST_ROWS))
    edges = [height * i // count for i in range(count + 1)]
    return [slice(start, stop) for start, stop in zip(edges, edges[1:], strict=False)]


def in_parallel(work: Callable[[Any], Any], items: Sequence[Any] | Iterable[Any]) -> list[Any]:
    """[work(item) for item in items], in threads where there are several; without gradients."""
    items = list(items)
    if len(items) == 1:
        with torch.no_grad():
            return [work(items[0])]
    return list(_pool(len(items)).map(torch.no_grad()(work), items))


@cache
def _pool(count: int) -> ThreadPoolExecutor:
    threads, started = torch.get_num_threads(), Barrier(count + 1)

    def begin():
        torch.set_num_threads(1)  # of this thread; a new one takes the number that was set last when it first asks ...
        torch.get_num_threads()  # ... which is now
        started.wait()

    pool = ThreadPoolExecutor(count, "rows", initializer=begin)
    for _ in range(count):
        pool.submit(lambda: None)
    started.wait()
    torch.set_num_threads(threads)
    return pool


if hasattr(os, "register_at_fork"):  # threads do not survive a fork; Windows has none
    os.register_at_fork(after_in_child=_pool.cache_clear)
