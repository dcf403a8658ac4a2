"""One call for any scene: what `prepare` has chosen is carried out, by one multiplane image or by several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from rsnb.errors import InputError
from rsnb.mpi.choose import nearest_first
from rsnb.mpi.hybrid import HybridOptions, optimise_hybrid
from rsnb.mpi.layers import check_choice
from rsnb.mpi.local import BlendedMpis, LocalOptions, optimise_local
from rsnb.mpi.model import ImMPI
from rsnb.mpi.result import OptimisedMpi
from rsnb.mpi.setup import Setup
from rsnb.scenes import PosedImages

RECIPES = ("auto", "single", "local")


@dataclass(frozen=True)
class SceneRecipe:
    """How a scene is made into planes.

    Attributes:
        kind: "single" multiplane image, "local" ones that are blended, or "auto": what `prepare` advises.
        hybrid: of the single one: decoder, if there is one, and refinement. Depth range and exposure are the setup's.
        local: of the local ones.
    """

    kind: str = "auto"
    hybrid: HybridOptions = field(default_factory=HybridOptions)
    local: LocalOptions = field(default_factory=LocalOptions)

    def __post_init__(self):
        check_choice(self.kind, RECIPES, "SceneRecipe.kind")

    def chosen(self, setup: Setup) -> str:
        """"single" or "local"."""
        return setup.recipe if self.kind == "auto" else self.kind


def optimise_scene(views: PosedImages, setup: Setup, recipe: SceneRecipe | None = None, *,
                   model: ImMPI | None = None, device: str = "cpu",
                   on_step: Callable[[int, int, Callable[[], OptimisedMpi]], None] | None = None,
                   ) -> OptimisedMpi | BlendedMpis:
    """Planes of a scene.

    Args:
        views: all pictures; those of the setup's targets are not looked at.
        setup: of `prepare`. Local images choose their own neighbours among its train views and, unless it was given
            one, depth ranges from its points; its targets say where frames are needed.
        recipe: see there.
        model: weights of a cross-scene training, for a single image.
        device: torch's.
        on_step: see `optimise_explicit`; local images do not call it.

    Raises:
        InputError: as the recipes do; a model for local images, which have no decoder.
    """
    recipe = recipe or SceneRecipe()
    if recipe.chosen(setup) == "single":
        hybrid = replace(recipe.hybrid, explicit=setup.options(recipe.hybrid.explicit))
        return optimise_hybrid(views, setup.reference, setup.learn_from, hybrid, model=model, device=device,
                               on_step=on_step)
    if model is not None:
        raise InputError("local multiplane images have no decoder that a model could start", where="recipe",
                         mend="Leave the model out, or choose recipe 'single'")
    local = recipe.local
    if setup.range_given and local.near_far is None:
        local = replace(local, near_far=setup.near_far)
    return optimise_local(views, setup.train or (setup.reference, *setup.learn_from), setup.targets, local,
                          points=setup.points, device=device)


def planes_near(result: OptimisedMpi | BlendedMpis, world_to_cam: np.ndarray) -> OptimisedMpi:
    """The one multiplane image of a result, or of several the one nearest to a camera [4, 4] (`nearest_first`)."""
    if isinstance(result, OptimisedMpi):
        return result
    return result.members[int(nearest_first(result.poses, world_to_cam)[0])]
