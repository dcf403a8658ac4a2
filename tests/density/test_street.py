"""Street pictures of pairs: under which light, from where, and that the size of a batch changes nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rsnb.density.illumination import IlluminationOptions
from rsnb.density.model import ModelOptions, SatDensity
from rsnb.density.sky import SKY_LOOKS, preset_sky, sky_histogram, sky_picture
from rsnb.density.sky_segment import segment_sky
from rsnb.density.street import eyes, shown_sky, sky_light, street_pictures
from rsnb.density.volume import TileFrame
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera
from rsnb.scenes import TilePanoramaPairs

FRAME = TileFrame(30.0, 8.0)
ROWS, COLUMNS = 16, 32


def tiny(**changes) -> SatDensity:
    torch.manual_seed(3)
    return SatDensity(replace(ModelOptions.of_size("tiny", FRAME, samples=12), **changes))


def made(count: int = 5) -> TilePanoramaPairs:
    """Skies of as many looks, on the upper half of panoramas; cameras off the middle, all turned."""
    rng = np.random.default_rng(0)
    panoramas = rng.random((count, 3, ROWS, COLUMNS), np.float32) * 0.3
    for panorama, look in zip(panoramas, SKY_LOOKS.values(), strict=False):
        panorama[:, :ROWS // 2] = sky_picture(look, ROWS // 2, COLUMNS).numpy()
    sky = np.zeros((count, ROWS, COLUMNS), bool)
    sky[:, :ROWS // 2] = True
    return TilePanoramaPairs(
        rng.random((count, 3, 16, 16), np.float32), panoramas, tuple("abcdefg"[:count]), rng.uniform(0, 6, count),
        math.pi, sky, offset_m=rng.uniform(-5, 5, (count, 2)), tile_extent_m=30.0, camera_height_m=2.5)


def test_eyes_stand_where_the_pairs_say():
    pairs = made(2)
    assert eyes(pairs).tolist() == [[*pairs.offset_m[0], 2.5], [*pairs.offset_m[1], 2.5]]
    middle = eyes(replace(pairs, offset_m=None, camera_height_m=3))
    assert middle.dtype == np.float64 and middle.tolist() == [[0, 0, 3]] * 2
    with pytest.raises(InputError, match="how high the camera is"):
        eyes(replace(pairs, camera_height_m=None))


@pytest.mark.parametrize("mode", ["ours", "published", "grey"])
def test_light_is_counted_as_the_encoder_wants_it(mode):
    model, pairs = tiny(illumination=IlluminationOptions.of_size("tiny", mode=mode)), made()
    counted = {"ours": "fixed"}.get(mode, mode)
    own = sky_light(model, pairs, "own")
    assert torch.equal(own, sky_histogram(torch.from_numpy(pairs.panoramas), torch.from_numpy(pairs.sky), counted))
    dusk = sky_light(model, pairs, "dusk")
    assert dusk.shape == own.shape and torch.equal(dusk[4], preset_sky("dusk", counted, height=ROWS, width=COLUMNS))
    if mode == "published":  # 6 rows of 32 pixels in 3 channels, where the picture itself has 8
        assert float(own[4].sum()) == 3 * 8 * 32 and float(dusk[4].sum()) == 3 * 6 * 32
    assert sky_light(model, pairs, "none") is None
    with torch.no_grad():
        assert model.illumination(dusk).shape == (5, 16)


def test_own_sky_of_pairs_without_masks_is_segmented():
    model, pairs = tiny(), replace(made(), sky=None)
    found = segment_sky(torch.from_numpy(pairs.panoramas), math.pi)
    assert torch.equal(sky_light(model, pairs, "own"), model.histogram(torch.from_numpy(pairs.panoramas), found))


def test_there_is_no_light_without_an_encoder_and_none_of_an_unknown_name():
    for name in ("own", "none", "clear"):
        assert sky_light(tiny(illumination=None), made(), name) is None
    for model in (tiny(), tiny(illumination=None)):
        with pytest.raises(InputError, match="no sky 'storm'.*own, none, clear, .*gloom"):
            sky_light(model, made(), "storm")


def test_pictures_are_those_of_each_pair_alone_in_batches_of_any_size():
    model, pairs = tiny(), made()
    light = sky_light(model, pairs, "own")
    pictures = street_pictures(model, pairs, light)
    assert pictures.shape == pairs.panoramas.shape and pictures.dtype == np.float32
    np.testing.assert_allclose(street_pictures(model, pairs, light, batch=2), pictures, atol=1e-5)
    # by hand; rays as long as the farthest camera of all needs
    away = np.abs(pairs.offset_m) + 15.0
    reach = float(np.sqrt((away**2).sum(axis=1) + 5.5**2).max())
    render = replace(model.options.render, length_m=reach)
    with torch.no_grad():
        volume = model.volume(torch.from_numpy(pairs.tiles[3:4]))
        view = model.view(volume, PanoramaCamera(COLUMNS, ROWS), [*pairs.offset_m[3], 2.5], pairs.heading[3],
                          light[3:4], render=render)
    np.testing.assert_allclose(pictures[3], view.rgb[0], atol=1e-5)
    assert abs(street_pictures(model, pairs) - pictures).max() > 1e-4  # the light was seen
    turned = replace(pairs, heading=pairs.heading + 1)
    assert abs(street_pictures(model, turned, light) - pictures).max() > 1e-2


def test_without_refinement_the_rendering_is_shown_and_the_mode_is_given_back():
    pairs = made(3)
    model = tiny(refine=None).train()
    pictures = street_pictures(model, pairs, batch=2)
    assert model.training and not np.isnan(pictures).any()
    model.eval()
    np.testing.assert_array_equal(street_pictures(model, pairs, batch=2), pictures)


def test_an_encoder_that_draws_draws_the_same_again():
    model, pairs = tiny(illumination=IlluminationOptions.of_size("tiny", draw_at_test=True)), made(3)
    light = sky_light(model, pairs, "clear")
    first = street_pictures(model, pairs, light)
    np.testing.assert_array_equal(street_pictures(model, pairs, light), first)


def test_what_does_not_fit_is_said():
    model, pairs = tiny(), made(3)
    with pytest.raises(InputError, match="2 skies for 3 pairs"):
        street_pictures(model, pairs, torch.zeros(2, 270))
    with pytest.raises(InputError, match="55.0 m wide, the model's 30.0 m"):
        street_pictures(model, replace(pairs, tile_extent_m=55.0))
    with pytest.raises(InputError, match="batch is 0"):
        street_pictures(model, pairs, batch=0)


def test_the_sky_of_one_pair_can_light_all():
    model, pairs = tiny(), made()
    own = sky_light(model, pairs, "own")
    assert torch.equal(sky_light(model, pairs.subset(np.arange(2)), "d", pairs), own[3:4].repeat(2, 1))
    assert torch.equal(sky_light(model, pairs, "b"), own[1:2].repeat(5, 1))
    assert np.array_equal(shown_sky("d", pairs), pairs.panoramas[3, :, :ROWS // 2])
    assert np.array_equal(shown_sky("dusk", pairs), sky_picture(SKY_LOOKS["dusk"]).numpy())
    for ask in (lambda: sky_light(model, pairs.subset(np.arange(2)), "d"), lambda: shown_sky("own", pairs)):
        with pytest.raises(InputError, match="id of a pair"):
            ask()
