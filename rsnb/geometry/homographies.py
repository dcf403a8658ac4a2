"""Homographies that a plane in space induces between two pinhole pictures.

A point X of the plane n . X = d, in the source camera's frame, is X' = R X + t in the target's frame, and because
n . X / d = 1 on the plane, X' = (R + t n^T / d) X. Hence H = K_target (R + t n^T / d) K_source^-1 maps homogeneous
source pixels to target pixels (Hartley and Zisserman, Multiple View Geometry, 2nd ed., equation 13.2, whose plane has
the opposite sign of d). Nothing here is normalised away: for a source pixel (u, v, 1) the third coordinate of H's
result is z_target / z_source, so that points which fall behind the target camera can be told.

The other direction is the same function with the roles changed (`transform_plane` gives the plane in the target frame)
or the matrix inverse. All functions are torch, batched by ordinary broadcasting over leading dimensions,
differentiable.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rsnb.errors import InputError
from rsnb.geometry.cameras import as_tensor


def plane_homography(K_source, K_target, source_to_target, normal, distance) -> Tensor:
    """The matrix that takes source pixels of points on a plane to their target pixels.

    Args:
        K_source, K_target: [..., 3, 3] intrinsics, pixels; they may differ.
        source_to_target: [..., 4, 4] motion from the source camera's frame to the target's
            (`poses.compose(world_to_target, poses.invert(world_to_source))`).
        normal: [..., 3] of the plane, in the source frame; any length.
        distance: [...] d of normal . X = d, metres if `normal` has length 1.

    Returns:
        H [..., 3, 3], not normalised: (u', v', 1) z_target / z_source = H (u, v, 1).

    Raises:
        InputError: a distance is 0: the plane goes through the source camera and covers no area of its picture.
    """
    K_source, K_target, pose, normal, distance = _together(K_source, K_target, source_to_target, normal, distance)
    if (distance == 0).any():
        raise InputError("a plane at distance 0 goes through the source camera, which sees it as a line",
                         where="plane_homography", mend="Give planes that the source camera does not lie in")
    motion = pose[..., :3, :3] + pose[..., :3, 3:] @ (normal / distance[..., None])[..., None, :]
    return K_target @ motion @ torch.linalg.inv(K_source)


def fronto_parallel_homographies(K_source, K_target, source_to_target, z_depth) -> Tensor:
    """`plane_homography` for the planes z = z_depth of the source camera, as multiplane images have them.

    Args:
        K_source, K_target: [..., 3, 3].
        source_to_target: [..., 4, 4].
        z_depth: [..., D] along the source camera's axis; infinity is the plane at infinity (H = K' R K^-1).

    Returns:
        H [..., D, 3, 3], source pixels to target pixels.
    """
    K_source, K_target, pose, z_depth = _together(K_source, K_target, source_to_target, z_depth)
    normal = z_depth.new_tensor([0.0, 0.0, 1.0])
    K_source, K_target, pose = (matrix[..., None, :, :] for matrix in (K_source, K_target, pose))
    return plane_homography(K_source, K_target, pose, normal, z_depth)


def transform_plane(source_to_target, normal, distance) -> tuple[Tensor, Tensor]:
    """The plane normal . X = distance of the source frame, in the target frame: normal' [..., 3], distance' [...]."""
    pose, normal, distance = _together(source_to_target, normal, distance)
    turned = (pose[..., :3, :3] @ normal[..., None])[..., 0]
    return turned, distance + (turned * pose[..., :3, 3]).sum(dim=-1)


def warp_pixels(homography, pixels) -> Tensor:
    """Pixels through homographies: H [..., 3, 3] and pixels [..., 2] (leading dimensions broadcast) to [..., 2].

    Where the third coordinate is not above 0 the point lies behind the target camera, and the result is NaN. That holds
    for matrices of this module; one from elsewhere is known only up to a factor: scale it so that some visible point
    gets a positive third coordinate.
    """
    H, pixels = _together(homography, pixels)
    moved = (H @ torch.cat([pixels, torch.ones_like(pixels[..., :1])], dim=-1)[..., None])[..., 0]
    scale = moved[..., 2:]
    seen = scale > 0
    safe = torch.where(seen, scale, torch.ones_like(scale))
    return torch.where(seen, moved[..., :2] / safe, torch.full_like(moved[..., :2], math.nan))


def _together(*values) -> list[Tensor]:
    """All as tensors of the finest precision among them, on the device of the first that is no CPU tensor."""
    tensors = [as_tensor(value) for value in values]
    dtype = tensors[0].dtype
    for tensor in tensors[1:]:
        dtype = torch.promote_types(dtype, tensor.dtype)
    device = next((t.device for t in tensors if t.device.type != "cpu"), tensors[0].device)
    return [tensor.to(dtype=dtype, device=device) for tensor in tensors]
