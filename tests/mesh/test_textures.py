"""Texture lookup against texels counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.mesh.textures import TextureTensors, build_texture_bank, sample
from rsnb.scenes import Material

# Two rows of four texels; red counts them: the upper row 0 10 20 30, the lower row 40 50 60 70.
COUNTED = np.stack([np.arange(8, dtype=np.uint8).reshape(2, 4) * 10] * 3, axis=2)


def look(materials, uv, level=0.0, material=0, trilinear=False):
    bank = TextureTensors.from_bank(build_texture_bank(tuple(materials)))
    uv = torch.tensor(uv, dtype=torch.float32)
    material, level = torch.full((len(uv),), material), torch.full((len(uv),), float(level))
    return sample(bank, material, uv, level, trilinear).numpy() * 255


@pytest.mark.parametrize("uv,red", [
    ((0.125, 0.75), 0),  # centre of the upper left texel: u = 0.5 / 4, row (1 - 0.75) * 2 = 0.5
    ((0.875, 0.75), 30),
    ((0.125, 0.25), 40),  # v small = low in the picture
    ((0.25, 0.75), 5),  # between texels 0 and 1 of the upper row
    ((0.125, 0.5), 20),  # between the rows: (0 + 40) / 2
    ((0.5, 0.5), 35),  # between 10, 20, 50 and 60
    ((1.125, 0.75), 0),  # repeats
    ((-0.125, 0.75), 30),
    ((0.125, -0.75), 40),  # -0.75 is 0.25
    ((0.0, 0.75), 15),  # on the seam: between the last (30) and the first (0) texel
    ((0.125, 1.0), 20),  # on the upper edge: between the first row (0) and the last (40)
])
def test_texels_counted_by_hand(uv, red):
    assert look([Material("counted", texture=COUNTED)], [uv])[0, 0] == pytest.approx(red, abs=1e-3)


def test_far_repeats_keep_their_texel():
    np.testing.assert_allclose(look([Material("m", texture=COUNTED)], [(1000.375, -500.25)])[0, 0], 10, atol=0.02)


def test_mips_are_box_means():
    """Level 1 of the 4 x 2 texture: (0+10+40+50)/4 = 25 and (20+30+60+70)/4 = 45; level 2 is their mean, 35."""
    one = [Material("m", texture=COUNTED)]
    for uv, level, red in (((0.25, 0.5), 1, 25), ((0.75, 0.5), 1, 45), ((0.75, 0.5), 2, 35), ((0.75, 0.5), 50, 35)):
        assert look(one, [uv], level)[0, 0] == pytest.approx(red)
    assert look(one, [(0.75, 0.5)], level=1.25, trilinear=True)[0, 0] == pytest.approx(45 + 0.25 * (35 - 45))


def test_material_colour_multiplies_and_bare_materials_are_their_colour():
    materials = [Material("m", rgb=(0.5, 1.0, 0.0), texture=COUNTED), Material("bare", rgb=(0.2, 0.4, 0.6))]
    np.testing.assert_allclose(look(materials, [(0.875, 0.75)])[0], [15, 30, 0])
    np.testing.assert_allclose(look(materials, [(0.3, 7.0)], level=3, material=1)[0] / 255, [0.2, 0.4, 0.6], rtol=1e-6)


def test_shared_textures_are_stored_once():
    texture = np.zeros((64, 64, 3), np.uint8)
    one = build_texture_bank((Material("a", texture=texture),))
    two = build_texture_bank((Material("a", texture=texture), Material("b", texture=texture)))
    assert one.texels.nbytes == two.texels.nbytes


@pytest.mark.parametrize("texture", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32),
                                     np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_texture_is_refused_by_name(texture):
    with pytest.raises(InputError, match="material wall"):
        build_texture_bank((Material("wall", texture=texture),))
