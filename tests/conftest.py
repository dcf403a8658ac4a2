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


def requires_cuda() -> pytest.MarkDecorator:
    """Mark for a test that needs an NVIDIA GPU: `@requires_cuda()`; torch is imported only where it is used."""
    import torch

    return pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
