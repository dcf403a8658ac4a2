"""One call for any scene: what the setup advises is what is done."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rsnb.errors import InputError
from rsnb.mpi import BlendedMpis, ExplicitOptions, HybridOptions, LocalOptions, optimise_explicit
from rsnb.mpi.decode import new_model
from rsnb.mpi.recipe import SceneRecipe, optimise_scene, planes_near
from rsnb.mpi.setup import Setup

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode does not put it there
from posed_scene import block_scene

SETUP = Setup("0", ("1", "2", "4"), (4.0, 7.5), False, "single", (), ("1", "2", "4", "5"), ("3",))
EXPLICIT = ExplicitOptions(planes=6, steps=(4,), views_per_step=1, backend="torch")
RECIPE = SceneRecipe(hybrid=HybridOptions(EXPLICIT), local=LocalOptions(planes=6, frames_per_target=1, neighbours=2))


@pytest.fixture(scope="module")
def scene():
    return block_scene()


def test_a_single_image_is_the_explicit_one_of_the_setup(scene):
    result = optimise_scene(scene, SETUP, RECIPE)
    expected = optimise_explicit(scene, "0", SETUP.learn_from, replace(EXPLICIT, near_far=(4.0, 7.5)))
    assert torch.equal(result.mpi, expected.mpi)
    assert planes_near(result, scene.world_to_cam[3]) is result
    steps = []
    optimise_scene(scene, SETUP, RECIPE, on_step=lambda step, *_: steps.append(step))
    assert steps == [1, 2, 3, 4]


def test_local_images_where_the_setup_says_so(scene):
    advised = optimise_scene(scene, replace(SETUP, recipe="local"), RECIPE)
    assert isinstance(advised, BlendedMpis) and set(advised.names) <= {"1", "2", "4", "5"}
    assert len(advised.members[0].depths) == 6
    forced = optimise_scene(scene, SETUP, replace(RECIPE, kind="local"))
    assert torch.equal(forced.view(scene, "3").rgb, advised.view(scene, "3").rgb)
    member = planes_near(advised, scene.world_to_cam[int(advised.names[0])])
    assert member is advised.members[0]


def test_a_given_range_holds_for_local_images(scene):
    given = replace(SETUP, recipe="local", near_far=(3.5, 8.0), range_given=True)
    near_far = {(m.frame.near, m.frame.far) for m in optimise_scene(scene, given, RECIPE).members}
    assert near_far == {(3.5, 8.0)}
    found = optimise_scene(scene, replace(given, range_given=False), RECIPE).members
    assert (3.5, 8.0) not in {(m.frame.near, m.frame.far) for m in found}


def test_what_does_not_fit_is_refused(scene):
    with pytest.raises(InputError, match="no decoder"):
        optimise_scene(scene, SETUP, replace(RECIPE, kind="local"), model=new_model())
    with pytest.raises(InputError, match="SceneRecipe.kind"):
        SceneRecipe("best")
