"""Times of the stages: which there are, that each does its own work, and that the whole takes longer than its parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rsnb.density.model import ModelOptions, SatDensity
from rsnb.density.sky import preset_sky
from rsnb.density.stages import _stages, time_stages
from rsnb.density.volume import TileFrame
from rsnb.errors import InputError
from rsnb.geometry.cameras import PanoramaCamera

CAMERA, EYE = PanoramaCamera(64, 32), [1.0, -2.0, 2.5]
WHOLE = ["tile to volume", "sky to style", "rays", "refinement", "all"]


def tiny(**changes) -> SatDensity:
    torch.manual_seed(0)
    return SatDensity(replace(ModelOptions.of_size("tiny", TileFrame(30.0, 8.0), samples=12), **changes))


def test_every_stage_has_its_time_and_the_model_its_mode_back():
    model = tiny().train()
    found = time_stages(model, torch.rand(3, 32, 32), CAMERA, EYE, preset_sky("clear"), min_seconds=0.01)
    assert list(found) == WHOLE and all(0 < seconds < 10 for seconds in found.values())
    assert model.training
    # one part of the whole cannot take twice as long as all of it, however busy the machine
    assert max(found.values()) < 2 * found["all"]


def test_stages_that_a_model_has_not_are_absent():
    tile = torch.rand(3, 16, 16).numpy()
    plain = time_stages(tiny(illumination=None), tile, CAMERA, EYE, preset_sky("clear")[None], min_seconds=0.001)
    assert list(plain) == ["tile to volume", "rays", "refinement", "all"]
    geometry = time_stages(tiny(refine=None), tile, CAMERA, EYE, min_seconds=0.001)
    assert list(geometry) == ["tile to volume", "rays", "all"]


def test_the_stages_one_after_the_other_are_all():
    model, tile, light = tiny().eval(), torch.rand(1, 3, 16, 16), preset_sky("dusk")[None]
    with torch.no_grad():
        stages = _stages(model, tile, CAMERA, EYE, light)
        assert torch.equal(stages["refinement"](), stages["all"]().rgb)
        assert torch.equal(stages["rays"]().opacity, stages["all"]().rendered.opacity)
        assert torch.equal(stages["tile to volume"]().sigma, model.volume(tile).sigma)
        assert torch.equal(stages["sky to style"](), stages["all"]().illumination.style)


def test_what_cannot_be_timed():
    model = tiny()
    with pytest.raises(InputError, match=r"expected \[3, S, S\]"):
        time_stages(model, torch.rand(1, 3, 16, 16), CAMERA, EYE)
    with pytest.raises(InputError, match="2 skies for one tile"):
        time_stages(model, torch.rand(3, 16, 16), CAMERA, EYE, torch.zeros(2, 270))
    with pytest.raises(InputError, match="min_seconds is 0"):
        time_stages(model, torch.rand(3, 16, 16), CAMERA, EYE, min_seconds=0)
