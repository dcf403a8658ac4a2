"""Several multiplane images, one around each of a few views, blended for a view by how near they stand.

One multiplane image shows well what is seen from near its frame. A facade walked along, or an object walked around, is
better served by several, each made from a view and its neighbours; a new view is a mean of what those nearest to it
show, weighted by nearness and by their opacity, so that one fills in what another never saw (local light field fusion:
Mildenhall et al., ACM Transactions on Graphics 38, 2019, section 5.2). Each keeps its own picture's exposure; between
two of them a view's exposure is between theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from rsnb.errors import InputError
from rsnb.geometry.poses import camera_centre
from rsnb.mpi.choose import NothingShared, nearest_first, nearest_views
from rsnb.mpi.explicit import ExplicitOptions, optimise_explicit
from rsnb.mpi.flat import flat_mpi
from rsnb.mpi.initial import fill_unknown
from rsnb.mpi.matching import EXPOSURE_PAYS, exposure_gain, matched_mpi
from rsnb.mpi.plane_state import check_memory, memory_bytes, mpi_bytes
from rsnb.mpi.planes import plane_depths
from rsnb.mpi.render import MpiRendering
from rsnb.mpi.result import OptimisedMpi, Renderable
from rsnb.mpi.setup import range_and_neighbours, rough_range
from rsnb.mpi.views import check_views, padded_frame, view_set
from rsnb.scenes import PosedImages
from rsnb.training.memory import free_bytes

LEAST_SHOWN = 0.5  # of a wanted view's pixels; a picture on a board helps out where less is known
LEAST_ALPHA = 1e-3  # below it nothing is known of a pixel


@dataclass(frozen=True)
class LocalOptions:
    """How local multiplane images are made.

    Attributes:
        planes: of each.
        frames_per_target: how many train views nearest to a target get one.
        neighbours: views that each is matched with.
        near_far: of all frames, or None: each frame's own, sought (`depth_search.scene_range`).
        blend: how many of the nearest ones a view is blended of.
        nearness: a frame's weight is its distance to the minus this power.
        max_pad: the frames grow by at most this share on each side towards what the targets see.
        match_width: depth is matched in pictures halved until they are at most this wide.
        refine: options of an explicit optimisation of each frame after the matching, or None for none. Exposure is
            matched there, too, where it pays.
    """

    planes: int = 64
    frames_per_target: int = 3
    neighbours: int = 2
    near_far: tuple[float, float] | None = None
    blend: int = 3
    nearness: float = 1.0
    max_pad: float = 0.25
    match_width: int = 400
    refine: ExplicitOptions | None = None

    def __post_init__(self):
        for name in ("planes", "frames_per_target", "neighbours", "blend", "match_width"):
            if getattr(self, name) < (2 if name == "planes" else 1):
                raise InputError(f"the value is {getattr(self, name)!r}", where=f"LocalOptions.{name}",
                                 mend="Give at least 1 of each, and 2 planes")
        if not self.nearness >= 0 or not 0 <= self.max_pad <= 2:
            raise InputError("nearness is below 0, or the padding not from 0 to 2", where="LocalOptions",
                             mend="nearness=1 and max_pad=0.25 are usual")


@dataclass(frozen=True)
class BlendedMpis(Renderable):
    """Multiplane images of several frames, seen as one.

    Attributes:
        members: one a frame.
        names: of the views whose cameras the frames are.
        blend, nearness: see `LocalOptions`.
        seconds: of everything.
        notes: what was chosen, and why.
    """

    members: tuple[OptimisedMpi, ...]
    names: tuple[str, ...]
    blend: int = 3
    nearness: float = 1.0
    seconds: float = 0.0
    notes: tuple[str, ...] = field(default=())

    @property
    def poses(self) -> np.ndarray:
        """[N, 4, 4] world to camera of the frames."""
        return np.stack([member.frame.world_to_cam for member in self.members])

    @property
    def history(self) -> list[dict[str, float]]:
        """Of all members, one after the other."""
        return [entry for member in self.members for entry in member.history]

    def weights(self, world_to_cam) -> dict[int, float]:
        """{member: weight} of the `blend` frames nearest to a camera (`choose.nearest_first`), adding up to 1."""
        pose = np.asarray(world_to_cam, np.float64)
        distance = np.linalg.norm(camera_centre(self.poses) - camera_centre(pose), axis=-1)
        nearest = nearest_first(self.poses, pose)[: self.blend]
        least = max(1e-6 * float(distance.max()), 1e-12)
        weight = np.maximum(distance[nearest], least) ** -self.nearness
        return dict(zip((int(k) for k in nearest), (float(w) for w in weight / weight.sum()), strict=True))

    @torch.no_grad()
    def render(self, K, world_to_cam, size: tuple[int, int]) -> MpiRendering:
        """The view of a camera: K [3, 3] pixels, world_to_cam [4, 4] in the world of the scene, size (H, W).

        Colours that no member knows are carried over from their neighbours; `mask` says where some member knows them.
        """
        rgb, depth, alpha, mask = 0.0, 0.0, 0.0, False
        for k, weight in self.weights(world_to_cam).items():
            seen = self.members[k].render(K, world_to_cam, size)
            rgb, alpha = rgb + weight * seen.rgb, alpha + weight * seen.alpha
            depth, mask = depth + weight * seen.alpha * seen.depth, mask | seen.mask
        known = alpha > LEAST_ALPHA
        return MpiRendering(fill_unknown(rgb / alpha.clamp_min(LEAST_ALPHA), known),
                            depth / alpha.clamp_min(LEAST_ALPHA), alpha.clamp_max(1.0), mask & known)


def frames_for(views: PosedImages, train: Sequence[str], targets: Sequence[str], each: int) -> tuple[str, ...]:
    """The train views that are among the nearest `each` of any target, in the order of `train`; all without targets."""
    if not targets:
        return tuple(train)
    wanted = {name for target in targets for name in nearest_views(views, target, train, each)}
    return tuple(name for name in train if name in wanted)


def optimise_local(views: PosedImages, train: Sequence[str], targets: Sequence[str] = (),
                   options: LocalOptions | None = None, *, points=None, device: str = "cpu",
                   on_frame: Callable[[int, int, str], None] | None = None) -> BlendedMpis:
    """Make local multiplane images of a scene.

    Args:
        views: all pictures; only those of `train` are looked at.
        train: names of the views to learn from.
        targets: names of views whose POSES say where new views are wanted; () makes a frame of each train view.
        options: see there.
        points: [P, 3] sparse points in the world for the depth range, or None.
        device: torch's.
        on_frame: called as on_frame(number, total, name) after each frame.

    Returns:
        `BlendedMpis`, with the same `.render`, `.view` and `.along` as `OptimisedMpi`.

    Raises:
        InputError: bad poses or split, no overlap between views, too little memory.
    """
    options, begin = options or LocalOptions(), time.perf_counter()
    train = tuple(train)
    if not train:
        raise InputError("there is no train view", where="split", mend="Name at least two")
    check_views(views, train[0], train[1:], targets)
    names = frames_for(views, train, targets, options.frames_per_target)
    notes: list[str] = []
    members: dict[str, OptimisedMpi] = {}
    for number, name in enumerate(names, start=1):
        try:
            members[name], note = _local(views, name, train, targets, options, points, device, len(names) - number)
        except NothingShared as error:
            note = f"frame {name} left out: {error.what}"
        notes.append(note)
        if on_frame is not None:
            on_frame(number, len(names), name)
    if not members:
        raise InputError(f"no view has a neighbour that it can be matched with ({'; '.join(notes[:3])})",
                         where="local frames", mend="Check poses and axes, or give views that see the same place")
    made = BlendedMpis(tuple(members.values()), tuple(members), options.blend)
    for name, board in _boards(views, train, targets, made, options, points).items():
        members[name] = board
        notes.append(f"frame {name} shares too little with others to know its depth: it is shown on a board, and so "
                     "good as that is for what it shows")
    return BlendedMpis(tuple(members.values()), tuple(members), min(options.blend, len(members)), options.nearness,
                       time.perf_counter() - begin, tuple(notes))


def _boards(views, train, targets, made: BlendedMpis, options: LocalOptions, points) -> dict[str, OptimisedMpi]:
    """{view: its picture on a board} for the targets of which the matched frames show less than half."""
    boards = {}
    for target in targets:
        nearest = nearest_views(views, target, train, 1)[0]
        if nearest in (*boards, *made.names) or made.view(views, target).mask.float().mean() >= LEAST_SHOWN:
            continue
        near_far = options.near_far or rough_range(views, nearest, train, points)
        board = flat_mpi(views, nearest, near_far, options.planes, points, (target,), options.max_pad)
        boards[nearest] = replace(board, mpi=board.mpi.to(made.members[0].mpi))
    return boards


def _local(views, name, train, targets, options: LocalOptions, points, device, later) -> tuple[OptimisedMpi, str]:
    (near_far, source), others = range_and_neighbours(views, name, train, options.neighbours, points, options.near_far)
    # only targets that stand near this frame make it larger
    covered = [t for t in targets if name in nearest_views(views, t, train, options.frames_per_target)]
    halvings = _halvings(views.images.shape[-1], options.match_width)
    frame = padded_frame(views, name, covered, near_far, options.max_pad, 2**halvings)
    # matching takes half of what an optimisation does; what the frames still to come will keep must fit as well
    check_memory(memory_bytes(frame, options.planes) // 2 + later * mpi_bytes(frame, options.planes),
                 free_bytes(device))
    pictures, depths = view_set(views, (name, *others), frame, device), plane_depths(*near_far, options.planes)
    result = matched_mpi(pictures, frame, depths, halvings)
    if options.refine is not None:
        # as the matching does it, else the refinement would learn the differences in exposure
        pays = options.refine.exposure or exposure_gain(pictures, frame, depths) > EXPOSURE_PAYS
        result = optimise_explicit(views, name, others, replace(options.refine, exposure=pays), device=device,
                                   start=result)
    note = f"frame {name} with {', '.join(others)}: planes from {near_far[0]:.3g} to {near_far[1]:.3g} ({source})"
    return result, note


def _halvings(width: int, wanted: int) -> int:
    count = 0
    while width / 2**count > wanted:
        count += 1
    return count
