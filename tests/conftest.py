"""Fixtures every room's tests share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


def real_root() -> tuple[Path, bool]:
    """Folder with the real data sets, and whether a set that is missing there is a failure.

    It is `$RSNB_REAL` where that is set (then everything must be there), else `shared/real` beside the project.
    """
    named = os.environ.get("RSNB_REAL")
    if named:
        return Path(named), True
    return PROJECT.parent / "shared" / "real", False


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """`real("nb2_city_mesh/zurich")` is the path of a real data set; the test is skipped where it is absent."""

    def find(name: str) -> Path:
        root, required = real_root()
        path = root / name
        if path.exists():
            return path
        if required:
            pytest.fail(f"RSNB_REAL is set, but {path} does not exist", pytrace=False)
        pytest.skip(f"real data set {name} is not here (set RSNB_REAL to its folder)")

    return find


@pytest.fixture(scope="session")
def project() -> Path:
    """The root of the clone."""
    return PROJECT


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `cuda` where torch sees no device; torch is imported only for such a test."""
    if item.get_closest_marker("cuda") is not None:
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
