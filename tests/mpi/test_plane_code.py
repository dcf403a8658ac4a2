"""The plane code, mended and as published, against the fact sheet's formulas written out."""

from __future__ import annotations

import math

import pytest
import torch

from rsnb.errors import InputError
from rsnb.mpi.plane_code import encode_scalars, plane_codes, plane_scalars

S = 32


def functions():
    """Identity, sin s, cos s, sin 2s, ... as the encoding lists them."""
    waves = [lambda s, k=k, f=f: f(2**k * s) for k in range(10) for f in (math.sin, math.cos)]
    return [lambda s: s, *waves]


def test_mended_rows_are_the_encodings_of_their_planes():
    codes = plane_codes(S, dtype=torch.float64)
    scalars = [0.01 + 0.99 * p / (S - 1) for p in range(S)]
    assert codes.shape == (S, 21)
    for p in (0, 7, S - 1):
        assert codes[p].tolist() == pytest.approx([f(scalars[p]) for f in functions()], abs=1e-12)


def test_published_rows_are_the_scrambled_list():
    mended, published = (plane_codes(S, kind, dtype=torch.float64) for kind in ("mended", "published"))
    scalars = plane_scalars(S, dtype=torch.float64).tolist()
    for p in (0, 1, 13, S - 1):
        expected = [functions()[(21 * p + j) // S](scalars[(21 * p + j) % S]) for j in range(21)]
        assert published[p].tolist() == pytest.approx(expected, abs=1e-12)
    # row 0: the first 21 scalars; row 1: the other 11, then the sines of the first 10
    assert published[0].tolist() == scalars[:21]
    assert published[1, 11:].tolist() == pytest.approx([math.sin(s) for s in scalars[:10]])
    assert not any(torch.allclose(a, b) for a, b in zip(mended, published, strict=True))
    assert (mended - published).abs().max() == pytest.approx(2.0, abs=0.05)


def test_a_finer_set_of_planes_keeps_the_codes_of_the_coarser_only_when_mended():
    for kind, kept in (("mended", True), ("published", False)):
        five, nine = (plane_codes(n, kind, dtype=torch.float64) for n in (5, 9))
        assert torch.allclose(nine[::2], five, atol=1e-12) is kept


def test_one_plane_has_a_code_and_none_is_refused():
    assert torch.equal(plane_codes(1), encode_scalars(torch.tensor([0.01])))
    with pytest.raises(InputError, match="at least one plane"):
        plane_codes(0)
    with pytest.raises(InputError, match="'published' or 'mended'"):
        plane_codes(4, "sorted")
