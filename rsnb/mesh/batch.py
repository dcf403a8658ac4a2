"""Many pictures of one scene: in order, with a progress bar, on one process or several."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence

import numpy as np
from tqdm.auto import tqdm

from rsnb.errors import InputError
from rsnb.mesh.renderer import UNLIT, Rendering, RenderOptions, checked_pose, refuse_buried_camera, render
from rsnb.mesh.scene import RayScene


def render_each(scene: RayScene, camera, poses: Sequence[np.ndarray], options: RenderOptions = UNLIT,
                progress: bool = True, processes: int = 1) -> Iterator[Rendering]:
    """Pictures one after the other, in the order of `poses`, so that a long batch can be written as it comes.

    Args:
        scene, options: as for `render`.
        camera: one for all poses, or a sequence with one a pose.
        poses: [N, 4, 4] float64 world_to_cam.
        progress: show a bar.
        processes: workers (spawned, each builds its own tree; the pictures are the same bytes as with 1).

    Raises:
        InputError: at once and naming the pose, before any picture is made: a pose is none, or (`check_camera`) its
            camera stands inside something.
    """
    poses = list(poses)
    cameras = list(camera) if isinstance(camera, Sequence) else [camera] * len(poses)
    if len(cameras) != len(poses):
        raise InputError(f"{len(cameras)} cameras for {len(poses)} poses", where="render_batch",
                         mend="Give one camera for all, or one a pose")
    if processes < 1:
        raise InputError(f"processes is {processes}", where="render_batch", mend="Give 1 or more")
    for number, (one, pose) in enumerate(zip(cameras, poses, strict=True)):
        try:
            checked = checked_pose(pose)
            if options.check_camera:
                refuse_buried_camera(scene, one, checked)
        except InputError as error:
            raise InputError(error.what, where=f"pose {number} (from 0), {error.where}", mend=error.mend) from None
    return _run(scene, cameras, poses, options, progress, processes)


def render_batch(scene: RayScene, camera, poses: Sequence[np.ndarray], options: RenderOptions = UNLIT,
                 progress: bool = True, processes: int = 1) -> list[Rendering]:
    """`render_each` as a list. 100 panoramas of 2048 x 1024 with all channels are 9 GB: iterate over those instead."""
    return list(render_each(scene, camera, poses, options, progress, processes))


def _run(scene, cameras, poses, options, progress, processes) -> Iterator[Rendering]:
    jobs = list(zip(cameras, poses, strict=True))
    bar = {"total": len(jobs), "desc": "render", "unit": "view", "disable": not progress}
    if processes == 1 or len(jobs) < 2:
        yield from tqdm((render(scene, one, pose, options) for one, pose in jobs), **bar)
        return
    # Spawn and not fork: a child that inherits OpenMP's threads half-alive hangs in its first parallel loop.
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(processes, len(jobs)), initializer=_start_worker, initargs=(scene, options)) as pool:
        yield from tqdm(pool.imap(_work, jobs), **bar)


_worker: dict[str, object] = {}


def _start_worker(scene: RayScene, options: RenderOptions) -> None:
    import torch

    torch.set_num_threads(1)
    _worker.update(scene=scene, options=options)


def _work(job) -> Rendering:
    camera, pose = job
    return render(_worker["scene"], camera, pose, _worker["options"])
