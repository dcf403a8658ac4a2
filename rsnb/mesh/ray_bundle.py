"""Pictures along rays that no camera model describes."""

from __future__ import annotations

import numpy as np

from rsnb.errors import InputError
from rsnb.geometry.poses import invert
from rsnb.mesh.camera_rays import CameraRays, RayBundle
from rsnb.mesh.renderer import UNLIT, Rendering, RenderOptions, render
from rsnb.mesh.scene import RayScene


def render_rays(scene: RayScene, origins: np.ndarray, directions: np.ndarray, width_m: float,
                options: RenderOptions = UNLIT) -> Rendering:
    """What single rays see, with everything `render` can do (light, shadows, texture filtering).

    Args:
        scene: what to look at.
        origins: [N, 3] model metres, float64 for large coordinates.
        directions: [N, 3] unit vectors.
        width_m: metres across the ray that one colour stands for, at any distance.
        options: as for `render`; supersampling repeats the same ray and is refused.

    Returns:
        a Rendering of one row: rgb [3, 1, N], depth [1, N] and so on.
    """
    if options.supersample != 1:
        raise InputError("single rays cannot be supersampled", where="render_rays", mend="Use supersample=1")
    local = (np.asarray(origins, np.float64) - scene.centre).astype(np.float32)
    n = len(local)
    rays = CameraRays(np.ascontiguousarray(np.asarray(directions, np.float32).T), np.ascontiguousarray(local.T),
                      np.full(n, width_m, np.float32), np.zeros(n, np.float32))
    at_centre = np.eye(4)
    at_centre[:3, 3] = scene.centre
    return render(scene, RayBundle(rays), invert(at_centre), options)
