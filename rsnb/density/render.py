"""Pictures of a density volume: colour, opacity and distance, by one function for all backends.

`march` takes any rays; `render_panorama` and `render_view` make them. Rays are float64 tile metres, the volume keeps
its precision. Volume and tile may ask for gradients, places and directions may not. Sat2Density (Qian et al., ICCV
2023), section 3.2, in metres, with pixel centres at +0.5 and a ground that is a plane.
"""

from __future__ import annotations

import math
from functools import cache
from importlib import import_module
from typing import NamedTuple

import torch
from torch import Tensor

from rsnb.density.cylinder import render_cylinder
from rsnb.density.march_torch import march_torch
from rsnb.density.sampling import Steps, farthest_corner, farthest_exit
from rsnb.density.volume import DensityVolume, Rendered, RenderOptions, TileFrame
from rsnb.errors import InputError
from rsnb.geometry.cameras import Camera, PanoramaCamera, as_tensor, world_rays

LEVEL = 1e-9  # sine up to which a camera counts as level


class _Level(NamedTuple):
    """A level panorama by rows and columns."""

    positions: Tensor  # [B, 3]
    bearings: Tensor  # [B, W]
    elevations: Tensor  # [H]


def march(volume: DensityVolume, origins, directions, options: RenderOptions | None = None) -> Rendered:
    """What rays see.

    Args:
        volume: B tiles.
        origins: [B or 1, ..., 3] tile metres, above the ground; dimensions of 1 are shared.
        directions: [B or 1, ..., 3] unit vectors.
        options: of the rendering. With length_m=None rays are sampled up to the farthest corner of the volume as seen
            from the farthest origin: give a length to parallel rays, which need far less.

    Returns:
        `Rendered` with pictures [B, 3, ...] and [B, ...].

    Raises:
        InputError: shapes that do not fit, numbers that are not finite, origins not above the ground, directions that
            are no unit vectors, or a backend that cannot do what is asked.
    """
    options = options or RenderOptions()
    device = volume.sigma.device
    origins, directions = (as_tensor(rays).detach().to(device, torch.float64) for rays in (origins, directions))
    _check_rays(volume, origins, directions)
    steps = Steps.of(options, farthest_corner(volume, origins))
    return _march(volume, origins, directions, steps, options)


def render_panorama(volume: DensityVolume, camera: PanoramaCamera, position, heading=0.0,
                    options: RenderOptions | None = None, rows: tuple[int, int] | None = None) -> Rendered:
    """The panorama of a level camera.

    Args:
        volume: B tiles.
        camera: size and vertical field of view.
        position: [3] or [B, 3] tile metres; z is the height above the ground.
        heading: bearing of the centre column, radians, a number or [B].
        options: of the rendering.
        rows: first and last (excluded) row of the camera to render; None = all.

    Returns:
        `Rendered` with pictures [B, 3, H, W] and [B, H, W].

    Raises:
        InputError: as `march`; or a camera that is no panorama, or has no such rows.
    """
    options = options or RenderOptions()
    if not isinstance(camera, PanoramaCamera):
        raise InputError(f"a {type(camera).__name__} is no panorama", where="render_panorama",
                         mend="Give a PanoramaCamera, or use render_view")
    positions = _positions(position, len(volume), "render_panorama")
    level = _level(camera, positions, _headings(heading, len(volume)))
    if rows is not None:
        if not 0 <= rows[0] < rows[1] <= camera.height:
            raise InputError(f"rows {rows} of a panorama of {camera.height}", where="render_panorama",
                             mend="Give the first row and the one after the last")
        level = level._replace(elevations=level.elevations[rows[0]:rows[1]])
    return _render_level(volume, level, options)


def render_view(volume: DensityVolume, camera: Camera, world_to_cam, options: RenderOptions | None = None) -> Rendered:
    """The picture of any camera: pinhole, orthographic from above, panorama.

    Args:
        volume: B tiles.
        camera: any of `geometry.cameras`.
        world_to_cam: [4, 4] or [B, 4, 4], the world being the tile: metres, origin on the ground in its middle.
        options: of the rendering. With length_m=None the parallel rays of an orthographic camera are sampled until the
            last of them leaves the volume, and the rays of the others up to its farthest corner.

    Returns:
        `Rendered` with pictures [B, 3, H, W] and [B, H, W].

    Raises:
        InputError: as `march`; or a pose of another shape.
    """
    options = options or RenderOptions()
    pose = as_tensor(world_to_cam).detach().double().cpu()
    if pose.shape[-2:] != (4, 4) or pose.ndim > 3 or (pose.ndim == 3 and len(pose) not in (1, len(volume))):
        raise InputError(f"a pose of shape {tuple(pose.shape)} for {len(volume)} tiles", where="render_view",
                         mend=f"Give [4, 4] or [{len(volume)}, 4, 4]")
    pose = pose if pose.ndim == 3 else pose[None]
    if not torch.isfinite(pose).all():
        raise InputError("the pose holds numbers that are not finite", where="render_view", mend="Check its source")
    if isinstance(camera, PanoramaCamera) and float(pose[:, :3, 2].abs().sub(pose.new_tensor([0, 1, 0])).abs().max()) \
            < LEVEL and bool((pose[:, 1, 2] < 0).all()):
        positions = -(pose[:, :3, :3].transpose(-1, -2) @ pose[:, :3, 3:])[..., 0]
        headings = torch.atan2(pose[:, 2, 0], pose[:, 2, 1])
        level = _level(camera, _positions(positions, len(volume), "render_view"), headings.expand(len(volume)))
        return _render_level(volume, level, options)
    origins, directions = world_rays(camera, pose)
    _check_origins(origins, "render_view")
    length = farthest_corner(volume, origins) if camera.central else farthest_exit(volume, origins, directions)
    device = volume.sigma.device
    return _march(volume, origins.to(device), directions.to(device), Steps.of(options, length), options)


def ground_in_tile(frame: TileFrame, camera: PanoramaCamera, position, heading=0.0) -> Tensor:
    """Rays that see nothing of the ground beyond the tile.

    Args:
        frame: of the tile.
        camera, position, heading: as in `render_panorama`; B is what position or heading say.

    Returns:
        [B, H, W] bool: rays that do not dip, and those that meet z = 0 inside the tile. The others see ground that no
        density of the tile should explain (section 2.3 of the method's facts: it ends up on the border of the tile).
    """
    count = max(len(part) if part.ndim else 1 for part in (as_tensor(heading), as_tensor(position)[..., 0]))
    positions = _positions(position, count, "ground_in_tile")
    level = _level(camera, positions, _headings(heading, count))
    slope = -torch.tan(level.elevations)[:, None]  # down over forward, [H, 1]
    reach = torch.where(slope > 0, level.positions[:, 2, None, None] / torch.where(slope > 0, slope, 1.0), 0.0)
    east = level.positions[:, 0, None, None] + reach * torch.sin(level.bearings)[:, None]
    north = level.positions[:, 1, None, None] + reach * torch.cos(level.bearings)[:, None]
    return (slope <= 0) | ((east.abs() <= frame.half_m) & (north.abs() <= frame.half_m))


def exit_heights(frame: TileFrame, camera: PanoramaCamera, position, heading=0.0) -> Tensor:
    """Heights above the ground at which rays pass over the border of the tile on their way out.

    Args:
        frame: of the tile.
        camera, position, heading: as in `render_panorama`; B is what position or heading say.

    Returns:
        [B, H, W] metres; 0 or less of a ray that meets the ground inside. A ray that never is over the tile has the
        camera's height.
    """
    count = max(len(part) if part.ndim else 1 for part in (as_tensor(heading), as_tensor(position)[..., 0]))
    level = _level(camera, _positions(position, count, "exit_heights"), _headings(heading, count))
    ways = torch.stack([level.bearings.sin(), level.bearings.cos()], dim=1)
    ways = torch.where(ways.abs() < 1e-12, 1e-12, ways)  # else 0 / 0 on the border
    far, near = ((side * ways.sign() * frame.half_m - level.positions[:, :2, None]) / ways for side in (1, -1))
    out, enters = far.amin(dim=1), near.amax(dim=1).clamp(min=0)
    out = torch.where(out > enters, out, 0.0)
    return level.positions[:, 2, None, None] + torch.tan(level.elevations)[:, None] * out[:, None]


def _render_level(volume: DensityVolume, level: _Level, options: RenderOptions) -> Rendered:
    steps = Steps.of(options, farthest_corner(volume, level.positions))
    level = _Level(*(part.to(volume.sigma.device) for part in level))
    if _choose(volume, options.backend, level=True) == "cylinder":
        return render_cylinder(volume, *level, steps)
    lat, lon = level.elevations[:, None], level.bearings[:, None]
    flat = torch.cos(lat)
    directions = torch.stack([flat * torch.sin(lon), flat * torch.cos(lon), torch.sin(lat).expand(lon.shape[0], -1,
                              lon.shape[-1])], dim=-1)
    return _march(volume, level.positions[:, None, None], directions, steps, options)


def _march(volume: DensityVolume, origins: Tensor, directions: Tensor, steps: Steps,
           options: RenderOptions) -> Rendered:
    """Any rays that were checked, by a backend that takes any."""
    backend = _choose(volume, options.backend, level=False)
    shape = torch.broadcast_shapes(origins.shape, directions.shape)[1:-1]
    single = origins[..., 0].numel() == len(origins)
    origins = origins.reshape(len(origins), 1, 3) if single else origins.expand(-1, *shape, 3).flatten(1, -2)
    directions = directions.expand(-1, *shape, 3).flatten(1, -2)
    if backend == "numba":
        from rsnb.density.march_numba import march_numba

        found = march_numba(volume, origins, directions, steps, options.stop, shape[-1])
    elif backend == "triton":
        from rsnb.density.march_triton import march_triton

        found = march_triton(volume, origins, directions, steps, options.stop)
    else:
        found = march_torch(volume, origins, directions, steps)
    return Rendered(found.rgb.unflatten(-1, shape), found.opacity.unflatten(-1, shape),
                    found.distance.unflatten(-1, shape))


def _choose(volume: DensityVolume, asked: str, level: bool) -> str:
    """The backend to take; InputError where the one that is asked for cannot do it."""
    sigma = volume.sigma
    learns = torch.is_grad_enabled() and (sigma.requires_grad or volume.tile.requires_grad)
    single = sigma.dtype == volume.tile.dtype == torch.float32
    if asked == "auto":
        plain = "cylinder" if level and (learns or single) else "torch"
        if not single:
            return plain
        if sigma.device.type == "cuda":
            return "triton" if _is_there("triton") else plain
        return "numba" if sigma.device.type == "cpu" and _is_there("numba") and not learns else plain
    if asked == "cylinder" and not level:
        raise InputError("the cylinder renders panoramas of a level camera only", where="RenderOptions.backend",
                         mend="Use backend='torch' or 'auto'")
    if asked in ("numba", "triton"):
        why = None
        if not _is_there(asked):
            why = f"needs the package {asked}, which is not installed"
        elif learns and asked == "numba":
            why = "has no gradients"
        elif not single:
            why = "works in float32"
        elif asked == "numba" and sigma.device.type != "cpu":
            why = "works on the CPU"
        elif asked == "triton" and sigma.device.type != "cuda" and not _triton_interprets():
            why = "works on a CUDA GPU"
        if why:
            raise InputError(f"the {asked} march {why}", where="RenderOptions.backend",
                             mend="Use backend='auto', or 'torch' (for panoramas also 'cylinder')")
    return asked


@cache
def _is_there(package: str) -> bool:
    try:
        import_module(f"rsnb.density.march_{package}")
    except ImportError:
        return False
    return True


def _triton_interprets() -> bool:
    """Triton's interpreter runs kernels on the CPU, for tests."""
    import triton

    return bool(triton.knobs.runtime.interpret)


def _level(camera: PanoramaCamera, positions: Tensor, headings: Tensor) -> _Level:
    columns = (torch.arange(camera.width, dtype=torch.float64) + 0.5) / camera.width - 0.5
    rows = 0.5 - (torch.arange(camera.height, dtype=torch.float64) + 0.5) / camera.height
    return _Level(positions, headings[:, None] + columns * (2 * math.pi), rows * camera.vertical_fov)


def _positions(position, count: int, where: str) -> Tensor:
    """[count, 3] float64 on the CPU."""
    positions = as_tensor(position).detach().double().cpu()
    if positions.shape not in ((3,), (1, 3), (count, 3)):
        raise InputError(f"a position of shape {tuple(positions.shape)} for {count} tiles", where=where,
                         mend=f"Give [3] or [{count}, 3]: metres east, north and above the ground")
    _check_origins(positions, where)
    return positions.expand(count, 3)


def _headings(heading, count: int) -> Tensor:
    headings = as_tensor(heading).detach().double().cpu()
    if headings.shape not in ((), (1,), (count,)) or not torch.isfinite(headings).all():
        raise InputError(f"a heading of shape {tuple(headings.shape)} for {count} tiles, or one that is not finite",
                         where="heading", mend=f"Give radians, a number or [{count}]")
    return headings.expand(count)


def _check_origins(origins: Tensor, where: str) -> None:
    if not torch.isfinite(origins).all():
        raise InputError("a camera's place holds numbers that are not finite", where=where,
                         mend="Give metres; a pair whose place is unknown cannot be rendered")
    lowest = float(origins[..., 2].min())
    if not lowest > 0:
        raise InputError(f"a camera {lowest:g} m above the ground", where=where,
                         mend="Its height, z, must be above 0 metres")


def _check_rays(volume: DensityVolume, origins: Tensor, directions: Tensor) -> None:
    try:
        shape = torch.broadcast_shapes(origins.shape, directions.shape)
    except RuntimeError:
        shape = ()
    if len(shape) < 3 or shape[-1] != 3 or origins.shape[-1] != 3 or directions.shape[-1] != 3 \
            or origins.ndim != directions.ndim or shape[0] not in (1, len(volume)):
        raise InputError(f"origins of shape {tuple(origins.shape)} and directions of shape {tuple(directions.shape)} "
                         f"for {len(volume)} tiles", where="march",
                         mend=f"Give [{len(volume)} or 1, ..., 3] each, with as many dimensions")
    _check_origins(origins, "march")
    if not ((torch.linalg.vector_norm(directions, dim=-1) - 1).abs() < 1e-4).all():
        raise InputError("a direction is no unit vector", where="march", mend="Divide directions by their length")
