"""The renderer's speed on one city district, as ratios against other ways to the same picture, in the same run.

    python benchmarks/mesh.py [--quick] [--repeats 7] [--out benchmarks/results/mesh_cpu.json]

One street view of 512 x 512 and one panorama of 2048 x 1024, each with colour, depth and semantic ids. Baselines: the
bare minimum with rays (embreex ray by ray, then one nearest texel per visible pixel, rays at hand), OpenGL on the CPU
(moderngl over EGL with Mesa's llvmpipe: trilinear mips, distance and face id in one pass; the panorama by a cube map),
and PyVista. What is not installed is left out and said. Every baseline's picture is compared with ours; one that shows
something else is rejected. Times are medians of interleaved repeats, wall and CPU time of all threads. Ends with a
verdict on what the renderer promises, and exit code 1 where a promise is missed or a baseline was rejected.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch

from rsnb.city import CityOptions, build_district
from rsnb.geometry import PanoramaCamera, PinholeCamera, camera_centre, heading_pitch_roll, pose_from_heading
from rsnb.mesh import RayScene, RenderOptions, render
from rsnb.mesh.camera_rays import camera_rays
from rsnb.mesh.passes import rotate

PERSPECTIVE = PinholeCamera.from_fov(np.deg2rad(90), 512, 512)
PANORAMA = PanoramaCamera(2048, 1024)
CUBE = PinholeCamera.from_fov(np.deg2rad(90), 512, 512)  # as many pixels a degree as the panorama
CHANNELS = ("rgb", "depth", "semantic")
# What a baseline's picture may differ by. Nearest texels and other mip levels show as colour; a cube map resampled to a
# panorama shifts edges by half a pixel.
BARE = {"same faces": 0.999, "same labels": 0.999, "median depth difference m": 1e-3, "mean colour difference": 0.1}
SAME_PICTURE = {
    "bare embreex cast + one gather": BARE, "bare packet cast + one gather": BARE,
    "OpenGL": {"same faces": 0.97, "same labels": 0.99, "median depth difference m": 0.01,
               "mean colour difference": 0.03},
    "PyVista": {"median depth difference m": 0.05, "mean colour difference": 0.1}}
# Our wall time over theirs, at most.
PROMISES = {("panorama", "OpenGL"): 1.0, ("perspective", "OpenGL"): 2.0, ("perspective", "PyVista"): 1.0,
            ("panorama", "bare packet cast + one gather"): 1.5, ("perspective", "bare packet cast + one gather"): 1.5}


def street_view(district) -> np.ndarray:
    """A pose half-way along the district's street path."""
    stations = district.street_path(16.0)
    middle = len(stations) // 2
    return pose_from_heading(stations.position[middle], stations.heading[middle])


def bare_cast(scene: RayScene, camera, pose: np.ndarray):
    """Embree ray by ray and one nearest texel per visible pixel; rays are at hand, as for ours."""
    rays = camera_rays(camera)
    directions = rotate(rays.directions, pose[:3, :3].astype(np.float32))
    eye = (camera_centre(pose) - scene.centre).astype(np.float32)
    origins = np.broadcast_to(eye, directions.shape)
    uv, bank, mesh = scene.mesh.uv.reshape(-1, 6), scene.bank, scene.mesh
    texels = bank.texels.view(np.uint32).reshape(-1)

    def run():
        hits = scene.cast_local(origins, directions)
        index = np.flatnonzero(hits.prim >= 0)
        prim, u, v = hits.prim[index], hits.u[index], hits.v[index]
        corner, material = uv[prim], mesh.face_material[prim]
        s = corner[:, 0] + u * (corner[:, 2] - corner[:, 0]) + v * (corner[:, 4] - corner[:, 0])
        t = corner[:, 1] + u * (corner[:, 3] - corner[:, 1]) + v * (corner[:, 5] - corner[:, 1])
        width, height = bank.width[material, 0], bank.height[material, 0]
        column = ((s - np.floor(s)) * width).astype(np.int32) % width
        row = ((1 - (t - np.floor(t))) * height).astype(np.int32) % height
        colour = np.zeros(len(hits.prim), np.uint32)
        colour[index] = texels[bank.offset[material, 0] + row * width + column]
        semantic = np.zeros(len(hits.prim), np.int32)
        semantic[index] = scene.semantic[prim]
        return {"rgb": colour.view(np.uint8).reshape(-1, 4)[:, :3], "depth": hits.distance, "semantic": semantic,
                "prim": hits.prim}

    return run


def open_gl(scene: RayScene, camera, pose: np.ndarray):
    """The same picture from a rasteriser; None and the reason where OpenGL cannot be had."""
    from baselines.gl_baseline import GlScene

    if camera is PERSPECTIVE:
        gl = GlScene(scene, camera)
        return (lambda: gl.draw(pose)), gl.name
    gl = GlScene(scene, CUBE)
    turns = [pose_from_heading([0, 0, 0], np.deg2rad(h), np.deg2rad(p)) for h, p in
             ((0, 0), (90, 0), (180, 0), (270, 0), (0, 90), (0, -90))]
    forward = pose_from_heading([0, 0, 0], 0.0)
    faces = [(turn @ np.linalg.inv(forward)) @ pose for turn in turns]
    lookup = cube_lookup(faces, camera, pose)

    def run():
        drawn = [gl.draw(face) for face in faces]
        return {name: np.concatenate([d[name].reshape(CUBE.width * CUBE.height, -1) for d in drawn])[lookup].squeeze()
                for name in ("rgb", "depth", "semantic", "prim")}

    return run, gl.name


def cube_lookup(faces: list[np.ndarray], camera, pose: np.ndarray) -> np.ndarray:
    """Which pixel of six cube faces each pixel of the panorama takes (nearest)."""
    world = rotate(camera_rays(camera).directions, pose[:3, :3].astype(np.float32)).astype(np.float64)
    place = np.zeros(len(world), np.int64)
    best = np.full(len(world), -1.0)
    for k, face in enumerate(faces):
        x, y, z = (world @ face[:3, :3].T).T
        ahead = z > best
        column, row = (np.clip((1 + a / np.where(z > 0.1, z, 1)) * CUBE.width / 2, 0, CUBE.width - 1).astype(int)
                       for a in (x, y))
        place[ahead] = (k * CUBE.width * CUBE.height + row * CUBE.width + column)[ahead]
        best = np.maximum(best, z)
    return place


def py_vista(scene: RayScene, camera, pose: np.ndarray):
    """Colour and depth of the perspective view by PyVista (VTK); ids and mips left out, both in its favour."""
    os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    import pyvista

    plotter = pyvista.Plotter(off_screen=True, window_size=(camera.width, camera.height), lighting="none")
    mesh = scene.mesh
    for number, material in enumerate(mesh.materials):
        keep = np.flatnonzero(mesh.face_material == number)
        if len(keep) == 0:
            continue
        corners = (mesh.vertices[mesh.faces[keep]] - scene.centre).reshape(-1, 3)
        index = np.arange(len(corners)).reshape(-1, 3)
        part = pyvista.PolyData(corners, np.column_stack([np.full(len(index), 3), index]).ravel())
        part.active_texture_coordinates = mesh.uv[keep].reshape(-1, 2)
        texture = material.texture if material.texture is not None else np.full((2, 2, 3), 255, np.uint8)
        tinted = np.round(texture * np.asarray(material.rgb)).astype(np.uint8)
        picture = pyvista.Texture(tinted)
        # No mips, in its favour: making them for all textures takes software OpenGL many minutes.
        picture.mipmap, picture.interpolate, picture.repeat = False, True, True
        plotter.add_mesh(part, texture=picture, lighting=False)
    eye = camera_centre(pose) - scene.centre
    plotter.camera.position, plotter.camera.focal_point = eye, eye + pose[2, :3]
    plotter.camera.up, plotter.camera.view_angle = -pose[1, :3], 90.0
    plotter.camera.clipping_range = 0.1, 1000.0
    plotter.show(auto_close=False)

    def run():
        plotter.render()
        near, far = plotter.camera.clipping_range
        with np.errstate(divide="ignore"):
            buffer = read_window(plotter.render_window, depth=True)[..., 0].astype(np.float64)
            z_depth = np.where(buffer < 1, near * far / (far - buffer * (far - near)), np.inf)
        return {"rgb": read_window(plotter.render_window, depth=False), "z_depth": z_depth}

    return run, "PyVista " + pyvista.__version__


def read_window(window, depth: bool) -> np.ndarray:
    """[H, W, C] what a VTK window shows, without drawing it again (as PyVista's own functions may)."""
    from vtkmodules.util.numpy_support import vtk_to_numpy
    from vtkmodules.vtkRenderingCore import vtkWindowToImageFilter

    reader = vtkWindowToImageFilter()
    reader.SetInput(window)
    reader.ReadFrontBufferOff()
    reader.ShouldRerenderOff()
    reader.SetInputBufferTypeToZBuffer() if depth else reader.SetInputBufferTypeToRGB()
    reader.Update()
    image = reader.GetOutput()
    width, height, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1]


def compare(ours: dict, theirs: dict) -> dict:
    """How far a baseline's picture is from ours."""
    n = ours["prim"].size
    colour = theirs["rgb"].reshape(n, 3).astype(np.float32) / 255
    hit = ours["prim"].reshape(-1) >= 0
    facts = {"mean colour difference": float(np.abs(colour - ours["rgb"].reshape(3, n).T)[hit].mean())}
    if "prim" in theirs:
        same = ours["prim"].reshape(-1) == theirs["prim"].reshape(-1)
        labels = ours["semantic"].reshape(-1) == theirs["semantic"].reshape(-1)
        error = np.abs(ours["depth"].reshape(-1)[hit & same] - theirs["depth"].reshape(-1)[hit & same])
        facts |= {"same faces": float(same.mean()), "same labels": float(labels.mean()),
                  "median depth difference m": float(np.median(error))}
    if "z_depth" in theirs:
        error = np.abs(ours["z_depth"].reshape(-1)[hit] - theirs["z_depth"].reshape(-1)[hit])
        facts["median depth difference m"] = float(np.median(error))
    return facts


def differences(name: str, facts: dict) -> list[str]:
    """Why a baseline's picture is not ours; empty where it is."""
    return [f"{key} {facts[key]:.4g}, allowed {limit:g}" for key, limit in SAME_PICTURE[name].items()
            if not (facts[key] >= limit if key.startswith("same") else facts[key] <= limit)]


def verdict(results: dict[str, dict]) -> list[tuple[str, bool]]:
    """One line a promise or rejected baseline, and whether it is kept. What could not run is named, not judged."""
    lines = []
    for view, result in results.items():
        for name, facts in result["parity"].items():
            wrong = differences(name, facts)
            if wrong:
                lines.append((f"{view}: {name} shows another picture ({'; '.join(wrong)})", False))
    for (view, name), limit in PROMISES.items():
        times = results[view]["times"].get(name)
        if times is None:
            note = results[view]["notes"].get(name, "left out")
            lines.append((f"{view}: against {name} not judged: {note}", True))
        else:
            lines.append((f"{view}: {times['ratio_wall']:.2f} times the time of {name}, at most {limit:g}",
                          times["ratio_wall"] <= limit))
    return lines


def measure(runs: dict, repeats: int) -> dict:
    """Median wall and CPU milliseconds of each, taking turns so that a busy minute hits all alike."""
    times: dict[str, list] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: dict(zip(("wall_ms", "cpu_ms"), (np.median(t, axis=0) * 1e3).tolist(), strict=True))
            for name, t in times.items()}


def bench_view(title: str, scene: RayScene, single: RayScene, camera, pose: np.ndarray, repeats: int) -> dict:
    """All ways to one picture: outputs compared, then timed."""
    options = RenderOptions(channels=CHANNELS)
    runs = {"rsnb render": lambda: render(scene, camera, pose, options),
            "rsnb render, torch kernels": lambda: render(scene, camera, pose,
                                                         RenderOptions(channels=CHANNELS, kernels="torch")),
            "bare embreex cast + one gather": bare_cast(single, camera, pose),
            "bare packet cast + one gather": bare_cast(scene, camera, pose)}
    notes = {}
    ours_run = runs["rsnb render"]
    try:
        runs["OpenGL"], notes["OpenGL"] = open_gl(scene, camera, pose)
    except Exception as error:  # whatever a missing driver or package raises
        notes["OpenGL"] = f"left out: {type(error).__name__}: {error}"
    picture = runs["rsnb render"]()
    ours = vars(picture) | {"z_depth": picture.z_depth}
    parity = {name: compare(ours, run()) for name, run in runs.items() if not name.startswith("rsnb")}
    times = measure(runs, repeats)
    ours_beside = dict.fromkeys(times, times["rsnb render"])
    if camera is PERSPECTIVE:
        try:
            # Last of all: after VTK has made its context, moderngl reads from the wrong framebuffer.
            run, notes["PyVista"] = py_vista(scene, camera, pose)
            parity["PyVista"] = compare(ours, run())
            beside = measure({"ours": ours_run, "PyVista": run}, repeats)
            times["PyVista"], ours_beside["PyVista"] = beside["PyVista"], beside["ours"]
        except Exception as error:
            notes["PyVista"] = f"left out: {type(error).__name__}: {error}"
    print(f"\n{title}\n{'':34}{'wall ms':>9}{'cpu ms':>9}{'ours / it':>11}")
    for name, t in times.items():
        for clock in ("wall", "cpu"):
            t[f"ratio_{clock}"] = ours_beside[name][f"{clock}_ms"] / t[f"{clock}_ms"]
        print(f"{name:34}{t['wall_ms']:9.1f}{t['cpu_ms']:9.1f}{t['ratio_wall']:11.2f}")
    for name, facts in parity.items():
        print(f"  {name}: " + ", ".join(f"{key} {value:.4g}" for key, value in facts.items()))
    for name, note in notes.items():
        print(f"  {name}: {note}")
    return {"times": times, "parity": parity, "notes": notes}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 repeats")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "mesh_cpu.json")
    args = parser.parse_args()
    repeats = 3 if args.quick else args.repeats
    district = build_district(CityOptions(seed=0))
    load = os.getloadavg()
    start = time.perf_counter()
    scene = RayScene(district.mesh)
    built = time.perf_counter() - start
    pose = street_view(district)
    start = time.perf_counter()
    render(scene, PERSPECTIVE, pose)
    first = time.perf_counter() - start
    heading = float(np.rad2deg(heading_pitch_roll(pose)[0]))
    print(f"{len(district.mesh.faces):,} triangles, {scene.bank.texels.nbytes / 1e6:.0f} MB of texture with mips, "
          f"{torch.get_num_threads()} threads, load {load[0]:.1f}, heading {heading:.0f} deg\n"
          f"scene {built:.2f} s, first picture {first:.2f} s (compiled loops are read from disk, or made once)")
    single = RayScene(district.mesh, packets=False)
    result = {"triangles": len(district.mesh.faces), "threads": torch.get_num_threads(), "repeats": repeats,
              "load_before": load, "machine": platform.processor() or platform.machine(), "cpus": os.cpu_count(),
              "torch": torch.__version__, "scene_s": built, "first_picture_s": first}
    for key, title, camera in (("panorama", "2048 x 1024 panorama: colour, depth, semantics", PANORAMA),
                               ("perspective", "512 x 512 perspective: colour, depth, semantics", PERSPECTIVE)):
        result[key] = bench_view(title, scene, single, camera, pose, repeats)
    result["load_after"] = os.getloadavg()
    lines = verdict({view: result[view] for view in ("panorama", "perspective")})
    print("\n" + "\n".join(f"{'kept  ' if good else 'MISSED'} {line}" for line, good in lines))
    result["verdict"] = lines
    if max(load[0], result["load_after"][0]) > 1.5 * (os.cpu_count() or 1):
        print("\nThe machine was busy: trust the cpu column more than the wall column.")
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=1) + "\n")
    return int(not all(good for _, good in lines))


if __name__ == "__main__":
    sys.exit(main())
