"""Image-based rendering: a new view from the colours of known pictures, carried over by the mesh.

Each target pixel's surface point is looked up in the nearest pictures that see it. The weights follow Buehler et al.,
"Unstructured lumigraph rendering" (SIGGRAPH 2001): small angle between the two lines of sight, resolution no worse than
the target's, and a smooth fade of a picture that is about to leave the set of the nearest. Where no picture sees a
point the mesh's own colour stands in, corrected by what the pictures said nearby. The sky comes from the pictures by
direction.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rsnb.errors import InputError
from rsnb.mesh.camera_rays import sample_offsets
from rsnb.mesh.colour_transfer import transfer_colours
from rsnb.mesh.renderer import RenderOptions, checked_pose, render
from rsnb.mesh.scene import RayScene
from rsnb.mesh.source_views import SKY_VIEWS, SourceViews, local_rays, sky_from_views
from rsnb.scenes import PosedImages


@dataclass(frozen=True)
class ImageBasedOptions:
    """How pictures are blended.

    Attributes:
        nearest: how many pictures take part in a view, the nearest by camera centre.
        angle_rad: lines of sight that differ by this angle have 1/e of the weight.
        resolution_power: weight falls with this power of (source footprint area / target footprint area) above 1.
        residual: carry what each picture says beyond the mesh, instead of its colours: where pictures are coarser than
            the mesh's texture (the ground midway between two panoramas) the texture's detail stays.
        supersample: surface points a pixel and axis.
        depth_absolute_m, depth_relative: tolerance of the visibility test.
        colour_transfer: fit gain and bias of each picture first (exposure, weather), see `transfer_colours`.
        sky: take the sky from the pictures; otherwise from `mesh_options`.
        mesh_options: how the mesh itself is rendered, for targets and (residual) for sources. Not below supersample 2:
            the residual would carry the mesh's aliasing along.
    """

    nearest: int = 5
    angle_rad: float = 0.25
    resolution_power: float = 0.5
    residual: bool = True
    supersample: int = 1
    depth_absolute_m: float = 0.03
    depth_relative: float = 0.004
    colour_transfer: bool = False
    sky: bool = True
    mesh_options: RenderOptions = field(default_factory=lambda: RenderOptions(supersample=2))

    def __post_init__(self):
        for name, low, high in (("nearest", 1, 64), ("supersample", 1, 8)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise InputError(f"{name} is {value!r}, expected a whole number {low}..{high}",
                                 where="ImageBasedOptions")
        if not self.angle_rad > 0:
            raise InputError(f"angle_rad is {self.angle_rad}", where="ImageBasedOptions", mend="Give radians above 0")


@dataclass(frozen=True)
class NovelView:
    """A view between known ones.

    Attributes:
        rgb: [3, H, W] float32, 0..1.
        mesh_rgb: [3, H, W] float32, the mesh alone.
        filled: [H, W] float32, share of the pixel's colour that comes from pictures.
        depth: [H, W] float32 metres, inf = sky.
    """

    rgb: np.ndarray
    mesh_rgb: np.ndarray
    filled: np.ndarray
    depth: np.ndarray


class ImageBasedRenderer:
    """Renders views between known pictures; pictures are prepared at their first use and kept.

    Args:
        scene: the mesh.
        sources: street views, perspective or panorama, in the mesh's model coordinates.
        options: see `ImageBasedOptions`.
    """

    def __init__(self, scene: RayScene, sources: PosedImages, options: ImageBasedOptions | None = None):
        self.scene, self.options = scene, options or ImageBasedOptions()
        tolerance = self.options.depth_absolute_m, self.options.depth_relative
        if self.options.colour_transfer and len(sources) > 1:
            sources = replace(sources, images=transfer_colours(SourceViews(scene, sources, *tolerance)))
        self.views = SourceViews(scene, sources, *tolerance, "residual" if self.options.residual else "colour",
                                 self.options.mesh_options)

    @torch.no_grad()
    def render(self, camera, world_to_cam: np.ndarray) -> NovelView:
        """One view from a camera (anything with width, height and rays) at world_to_cam [4, 4], model metres."""
        pose = checked_pose(world_to_cam)
        mesh = render(self.scene, camera, pose, self.options.mesh_options)
        near = self.views.nearest(pose, self.options.nearest)
        base = torch.from_numpy(mesh.rgb.reshape(3, -1).T.copy())
        change, filled = torch.zeros_like(base), torch.zeros(len(base))
        offsets = sample_offsets(self.options.supersample) if self.options.supersample > 1 else [(0.5, 0.5)]
        for offset in offsets:
            rgb, share, absolute = self._sample(camera, pose, offset, near)
            rgb[absolute] -= base[absolute]
            change += rgb * share[:, None] / len(offsets)
            filled += share / len(offsets)
        shape = (camera.height, camera.width)
        change, filled = change.T.reshape(1, 3, *shape), filled.reshape(1, 1, *shape)
        rgb = base.T.reshape(1, 3, *shape) + _spread(change, filled)
        return NovelView(rgb[0].clamp(0, 1).numpy(), mesh.rgb, filled[0, 0].numpy(), mesh.depth)

    def _sample(self, camera, pose, offset, near) -> tuple[Tensor, Tensor, Tensor]:
        """What pictures say about one point of every pixel [P, 3], whether they do [P], and which are plain colours."""
        origins, directions, width_at_0, width_per_m = local_rays(self.scene, camera, pose, offset)
        hits = self.scene.cast_local(origins, directions)
        rgb, share = torch.zeros(len(directions), 3), torch.zeros(len(directions))
        index = np.flatnonzero(hits.prim >= 0)
        if len(index):
            distance = hits.distance[index]
            start = origins if len(origins) == 1 else origins[index]
            normals = self.scene.normal[hits.prim[index]]
            normals = normals * -np.sign((normals * directions[index]).sum(1, keepdims=True))  # towards the viewer
            surface = _Surface(
                torch.from_numpy(start + distance[:, None] * directions[index]),
                torch.from_numpy(normals),
                torch.from_numpy(directions[index]),
                torch.from_numpy(width_at_0[index] + width_per_m[index] * distance))
            rgb[index], share[index] = self._blend(surface, near)
        sky = np.flatnonzero(hits.prim < 0)
        if self.options.sky and len(sky):
            rgb[sky], share[sky] = sky_from_views(
                self.views, torch.from_numpy(directions[sky]), self.views.nearest(pose, SKY_VIEWS))
        absolute = torch.from_numpy(hits.prim < 0) if self.options.residual else torch.ones(len(rgb), dtype=torch.bool)
        return rgb, share, absolute

    def _blend(self, surface: _Surface, near) -> tuple[Tensor, Tensor]:
        colours, logs, seen = [], [], []
        cosine = (surface.directions * surface.normals).sum(1).abs().clamp(min=0.02)
        for index, count in near:
            look = self.views.at_points(index, surface.points, surface.normals)
            angle = torch.acos((look.toward * surface.directions).sum(1).clamp(-1, 1))
            cosine_there = (look.toward * surface.normals).sum(1).abs().clamp(min=0.02)
            coarser = (look.distance * self.views.pixel_rad[index] / surface.widths) ** 2 * cosine / cosine_there
            logs.append(-((angle / self.options.angle_rad) ** 2) + np.log(count)
                        - self.options.resolution_power * coarser.clamp(min=1.0).log())
            colours.append(look.rgb)
            seen.append(look.seen)
        colours, logs, seen = torch.stack(colours), torch.stack(logs), torch.stack(seen)
        logs = logs + seen.clamp(min=1e-9).log()
        logs = torch.where(seen > 1e-3, logs, -torch.inf)
        weights = _softmax(logs)
        share = (seen.amax(0) / 0.02).clamp(max=1.0)
        return (weights[..., None] * colours).sum(0), share


@dataclass(frozen=True)
class _Surface:
    points: Tensor  # [N, 3] relative to scene.centre
    normals: Tensor  # [N, 3]
    directions: Tensor  # [N, 3] unit, from the target camera
    widths: Tensor  # [N] metres that the target pixel covers across the ray


def _softmax(logs: Tensor) -> Tensor:
    """Softmax over the first dimension, 0 where all are -inf."""
    top = logs.amax(0)
    weights = torch.exp(logs - torch.where(torch.isfinite(top), top, 0.0))
    return weights / weights.sum(0).clamp(min=1e-9)


def _spread(residual: Tensor, known: Tensor) -> Tensor:
    """Fill in where nothing is known by pull and push (Gortler et al. 1996): coarse averages flow into the holes.

    Args:
        residual: [1, 3, H, W], already multiplied by `known`.
        known: [1, 1, H, W] 0..1.

    Returns:
        [1, 3, H, W]: `residual` where known is 1, what is near where it is 0.
    """
    height, width = residual.shape[-2:]
    if max(height, width) == 1:
        return residual / known.clamp(min=1e-6)
    coarse = F.avg_pool2d(residual, 2, ceil_mode=True, count_include_pad=False)
    share = F.avg_pool2d(known, 2, ceil_mode=True, count_include_pad=False)
    coarse_known = (4 * share).clamp(max=1.0)  # one pixel of four is enough to know the average
    coarse = coarse * (coarse_known / share.clamp(min=1e-6))
    far = F.interpolate(_spread(coarse, coarse_known), size=(height, width), mode="bilinear", align_corners=False)
    return residual + (1 - known) * far
