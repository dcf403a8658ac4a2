"""The mesh room's shading on the device against the CPU."""

from __future__ import annotations

import numpy as np
import torch
from gpu_checks.bench import Bench, LeftOut

from rsnb.geometry.poses import pose_from_heading

SHADES = 2e-3  # of colour 0..1, between shading on the device and on the CPU


def mesh_shading(bench: Bench) -> dict:
    """Greatest difference of one street view shaded on the device and on the CPU."""
    try:
        from rsnb.city import CityOptions, build_district
        from rsnb.geometry import PinholeCamera
        from rsnb.mesh import RayScene, render
        from rsnb.mesh import RenderOptions as MeshOptions

        if bench.dry:
            raise LeftOut("a district takes too long for a dry run")
        district = build_district(CityOptions(seed=0))
        scene = RayScene(district.mesh)
    except ImportError as error:
        raise LeftOut(f"the mesh room lacks a package ({error})") from None
    stations = district.street_path(16.0)
    middle = len(stations) // 2
    pose = pose_from_heading(stations.position[middle], stations.heading[middle])
    camera = PinholeCamera.from_fov(np.deg2rad(90), bench.size, bench.size)
    pictures = [np.asarray(torch.as_tensor(render(scene, camera, pose, MeshOptions(device=device)).rgb).cpu())
                for device in ("cpu", bench.device)]
    apart = np.abs(pictures[0].astype(float) - pictures[1].astype(float))
    scale = 255.0 if pictures[0].dtype == np.uint8 else 1.0
    mean = float(apart.mean() / scale)
    bench.promise(f"mesh shading on the device: mean difference {mean:.1e}, at most {SHADES:g}", mean <= SHADES)
    return {"mean": mean, "greatest": float(apart.max() / scale)}
