"""Views from a multiplane image: colour, expected depth, alpha and validity, by one function for all backends.

Each plane is warped by its homography, and the planes are composited front to back with the density model of NeRF:
tau_i = sigma_i delta_i, w_i = T_i (1 - exp(-tau_i)), T_i = exp(-sum of the tau before), colour = sum w_i c_i
(Wu, Zou, Shi, IEEE TGRS 60, 2022, section on differentiable rendering). A plane counts only where its texel lies within
the reference frame: nothing is smeared beyond it. `RenderOptions(published=True)` renders as the published code does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from rsnb.errors import InputError
from rsnb.geometry.cameras import as_tensor
from rsnb.mpi.planes import PlaneSweep, plane_factors, plane_sweep
from rsnb.mpi.render_torch import composite_torch

Backend = Literal["auto", "torch", "numba", "triton"]
PUBLISHED_LAST_GAP = 1000.0
DEPTH_EPSILON = 1e-5  # the published code adds it to alpha under the expected depth; ours is at least it


@dataclass(frozen=True, eq=False)
class MpiCamera:
    """The target camera, seen from the reference camera in whose frame the multiplane image stands.

    Attributes:
        K_ref, K_target: [3, 3] intrinsics, pixels, centres at +0.5.
        ref_to_target: [4, 4] rigid motion from the reference camera's frame to the target's
            (`poses.compose(world_to_target, poses.invert(world_to_ref))`).
        size: height and width of the target picture.

    Raises:
        InputError: shapes are off, or the rotation is singular, mirrored or scaled.
    """

    K_ref: Tensor
    K_target: Tensor
    ref_to_target: Tensor
    size: tuple[int, int]

    def __post_init__(self):
        for name, shape in (("K_ref", (3, 3)), ("K_target", (3, 3)), ("ref_to_target", (4, 4))):
            value = as_tensor(getattr(self, name))
            if value.shape != shape or not torch.isfinite(value).all():
                raise InputError(f"{name} has shape {tuple(value.shape)} or holds numbers that are not finite",
                                 where="MpiCamera", mend=f"Give finite numbers of shape {list(shape)}")
            object.__setattr__(self, name, value)
        rotation = self.ref_to_target[:3, :3].detach().double()
        determinant = float(torch.linalg.det(rotation))
        away = float((rotation @ rotation.T - torch.eye(3, dtype=torch.float64, device=rotation.device)).abs().max())
        if determinant <= 0 or away > 1e-3:
            kind = "mirrored" if determinant < -1e-6 else "singular" if determinant < 1e-6 else "scaled or sheared"
            raise InputError(f"the rotation of ref_to_target is {kind} (determinant {determinant:.4g})",
                             where="MpiCamera", mend="Check the axes convention of the poses: world to camera, "
                                                     "x right, y down, z forward")
        if len(self.size) != 2 or min(self.size) < 1:
            raise InputError(f"a target picture of size {self.size}", where="MpiCamera",
                             mend="Give (height, width), both above 0")


@dataclass(frozen=True)
class RenderOptions:
    """How a view is rendered.

    Attributes:
        backend: "torch" (any device and precision; gradients for the planes' content, poses, intrinsics and depths),
            "numba" (CPU, float32, gradients for the content only), "triton" (the same on a CUDA GPU), or "auto": the
            fastest that can do what is asked. Gradients of "triton" differ in the last digits from run to run.
        published: as the published code: texels beyond the reference frame repeat its border, a pixel is valid where
            one plane is, 1e-6 is added to each factor of the transmittance, and the last spacing is 1000 along the ray.
        background: colour behind the last plane.
        mask_share: a pixel is valid where at least this share of the planes ahead has its texel within the reference
            frame; 1 = the whole ray stays within what the reference camera saw. (Not used if `published`.)
        last_gap: thickness of the last plane along the reference axis, unit of the poses; None repeats the gap before.
    """

    backend: Backend = "auto"
    published: bool = False
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    mask_share: float = 1.0
    last_gap: float | None = None

    def __post_init__(self):
        if self.backend not in get_args(Backend):
            raise InputError(f"{self.backend!r} is no renderer", where="RenderOptions.backend",
                             mend="Use 'auto', 'torch', 'numba' or 'triton'")
        if not 0 < self.mask_share <= 1:
            raise InputError(f"a share of {self.mask_share}", where="RenderOptions.mask_share",
                             mend="Give a number above 0, at most 1")


class MpiRendering(NamedTuple):
    """One view.

    Attributes:
        rgb: [3, H, W].
        depth: [H, W] expected z depth in the target camera, unit of the poses: sum w_i lambda_i / alpha; about 0 where
            alpha is.
        alpha: [H, W] sum w_i, 0..1.
        mask: [H, W] bool, valid pixels.
    """

    rgb: Tensor
    depth: Tensor
    alpha: Tensor
    mask: Tensor


def render_mpi(mpi: Tensor, depths, camera: MpiCamera, options: RenderOptions | None = None) -> MpiRendering:
    """Render the view of a camera from a multiplane image.

    Args:
        mpi: [P, 4, H, W] red, green, blue (0..1) and sigma (>= 0, per unit length); plane 0 is the nearest. In
            `torch.channels_last` memory the CPU backends need no copy of it.
        depths: [P] z depths of the planes in the reference camera.
        camera: the target.
        options: of the renderer.

    Returns:
        `MpiRendering`, in the precision of `mpi`; differentiable in mpi, depths and the camera.

    Raises:
        InputError: shapes that do not fit, or a backend that cannot do what is asked.
    """
    options = options or RenderOptions()
    depths = as_tensor(depths)
    if mpi.ndim != 4 or mpi.shape[1] != 4 or len(depths) != len(mpi) or min(mpi.shape[2:]) < 2:
        raise InputError(f"a multiplane image of shape {tuple(mpi.shape)} with {len(depths)} depths",
                         where="render_mpi", mend="Give [P, 4, H, W] with P depths, H and W at least 2")
    last_gap = PUBLISHED_LAST_GAP if options.published and options.last_gap is None else options.last_gap
    backend = _choose(mpi, depths, camera, options.backend)
    if backend == "triton":
        from rsnb.mpi.render_triton import render_triton

        return MpiRendering(*render_triton(mpi, depths, camera, options, last_gap))
    (red_green_blue, weighted, alpha), share = _composite(mpi, depths, camera, options.published, last_gap, backend)
    depth = weighted / (alpha + DEPTH_EPSILON if options.published else alpha.clamp(min=DEPTH_EPSILON))
    if any(options.background):
        behind = alpha.new_tensor(options.background)[:, None, None]
        red_green_blue = red_green_blue + (1 - alpha) * behind
    mask = share > 0 if options.published else share >= options.mask_share - 1e-6
    return MpiRendering(red_green_blue, depth, alpha, mask)


def _composite(mpi: Tensor, depths: Tensor, camera: MpiCamera, published: bool, last_gap: float | None, backend: str):
    """Sums of w_i times colour [3, H, W], z depth [H, W] and 1 [H, W], and the share of planes in frame [H, W]."""
    if backend == "numba":
        from rsnb.mpi.render_numba import composite_numba

        with torch.no_grad():
            factors = plane_factors(camera, depths, last_gap)
        sums, share = composite_numba(mpi, factors, tuple(camera.size), published)
    else:
        sweep = PlaneSweep(*(part.to(mpi.device) for part in plane_sweep(camera, depths, last_gap)))
        sums, share = composite_torch(mpi, sweep, published)
    return (sums[:3], sums[3], sums[4]), share


def _choose(mpi: Tensor, depths: Tensor, camera: MpiCamera, asked: str) -> str:
    """The backend to take; InputError where the one that is asked for cannot do it."""
    moving = torch.is_grad_enabled() and any(
        part.requires_grad for part in (depths, camera.K_ref, camera.K_target, camera.ref_to_target))
    on_gpu = mpi.device.type == "cuda"
    compiled = mpi.dtype == torch.float32 and not moving
    if asked == "auto":
        fastest = "triton" if on_gpu else "numba"
        return fastest if compiled and (on_gpu or mpi.device.type == "cpu") and _is_there(fastest) else "torch"
    if asked == "numba" and not (compiled and mpi.device.type == "cpu"):
        raise InputError("the numba renderer works on the CPU, in float32, and has no gradients for poses or depths",
                         where="RenderOptions.backend", mend="Use backend='torch' or 'auto'")
    if asked == "triton" and not (compiled and _is_there("triton") and (on_gpu or _triton_interprets())):
        raise InputError("the triton renderer needs the package triton, works on a CUDA GPU, in float32, and has no "
                         "gradients for poses or depths", where="RenderOptions.backend",
                         mend="Use backend='torch' or 'auto'")
    return asked


@cache
def _is_there(package: str) -> bool:
    try:
        __import__(package)
    except ImportError:
        return False
    return True


def _triton_interprets() -> bool:
    """Triton's interpreter runs kernels on the CPU, for tests."""
    import triton

    return bool(triton.knobs.runtime.interpret)
