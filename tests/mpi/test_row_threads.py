"""Rows in threads: every row once, the same picture with any number of threads, torch's own left as they were."""

from __future__ import annotations

import pytest
import torch

from rsnb.mpi import MpiCamera, RenderOptions, plane_depths, render_mpi
from rsnb.mpi.row_threads import LEAST_ROWS, bands, in_parallel


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_every_row_is_in_one_band(threads):
    threads(3)
    rows = bands(200)
    assert [row for part in rows for row in range(200)[part]] == list(range(200)) and len(rows) == 3
    assert len(bands(2 * LEAST_ROWS - 1)) == 1 and len(bands(5)) == 1 and len(bands(200, "meta")) == 1
    threads(1)
    assert bands(200) == [slice(0, 200)]


def test_work_is_done_in_order_with_one_thread_each(threads):
    threads(3)
    seen = in_parallel(lambda k: (k, torch.get_num_threads(), torch.is_grad_enabled()), range(3))
    assert seen == [(0, 1, False), (1, 1, False), (2, 1, False)]
    assert torch.get_num_threads() == 3 and torch.is_grad_enabled()
    with pytest.raises(ZeroDivisionError):
        in_parallel(lambda k: 1 / k, range(2))


def rendered(published):
    """A view [rgb, depth] of random planes, and the gradient of its sum to them."""
    mpi = torch.rand(5, 4, 90, 70, generator=torch.Generator().manual_seed(0)).requires_grad_()
    K = torch.tensor([[80.0, 0, 33.0], [0, 85.0, 47.0], [0, 0, 1]], dtype=torch.float64)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, 3] = torch.tensor([0.2, -0.1, 0.05])
    seen = render_mpi(mpi, plane_depths(3.0, 9.0, 5), MpiCamera(K, K, pose, (96, 64)),
                      RenderOptions(backend="torch", published=published))
    (seen.rgb.sum() + seen.depth.sum()).backward()
    return seen.rgb.detach(), seen.depth.detach(), mpi.grad


@pytest.mark.parametrize("published", [True, False])
def test_the_same_picture_with_any_number_of_threads(threads, published):
    threads(1)
    one = rendered(published)
    for count in (2, 3):
        threads(count)
        for ours, theirs in zip(rendered(published), one, strict=True):
            assert torch.allclose(ours, theirs, rtol=0, atol=2e-6)
        assert torch.equal(rendered(published)[0], one[0])
