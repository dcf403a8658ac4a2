"""A small scene for tests: a textured ground with a raised block, ray by ray, from rotated cameras with fx != fy."""

from __future__ import annotations

import numpy as np

from rsnb.geometry.poses import invert, look_at
from rsnb.scenes import PosedImages

HEIGHT = 1.5  # of the block, the cameras stand at about 6


def block_scene(size=(64, 80), count=6) -> PosedImages:
    """View "0" looks down from the middle, the others from a circle around it; with true z depth."""
    eyes = [(0.0, 0.0, 6.0)] + [(0.6 * np.cos(a), 0.6 * np.sin(a), 6.1) for a in np.linspace(0, 5, count - 1)]
    ups = [(0.1 * k - 0.2, 1, 0) for k in range(count)]
    poses = np.stack([look_at(eye, (0.1, -0.05, 0.5), up) for eye, up in zip(eyes, ups, strict=True)])
    K = np.array([[86.0, 0, size[1] / 2 - 1.5], [0, 93.0, size[0] / 2 + 1.0], [0, 0, 1]])
    shots = [_shot(K, pose, size) for pose in poses]
    return PosedImages(np.stack([s[0] for s in shots]).astype(np.float32), poses, "pinhole",
                       tuple(str(k) for k in range(count)), np.broadcast_to(K, (count, 3, 3)).copy(),
                       z_depth=np.stack([s[1] for s in shots]).astype(np.float32),
                       near_far=np.tile([4.0, 7.5], (count, 1)))


def _shot(K, pose, size, samples=3):
    """Mean colour of samples^2 rays a pixel, and z depth of the middle one."""
    back = invert(pose)
    colours = []
    steps = (np.arange(samples) + 0.5) / samples
    for dy in steps:
        for dx in steps:
            rows, columns = np.mgrid[: size[0], : size[1]].astype(float)
            pixels = np.stack([columns + dx, rows + dy, np.ones_like(rows)], -1)
            rays = pixels @ np.linalg.inv(K).T @ back[:3, :3].T
            ground, top = (-back[2, 3] / rays[..., 2], (HEIGHT - back[2, 3]) / rays[..., 2])
            roof = back[:3, 3] + rays * top[..., None]
            hit = (np.abs(roof[..., 0]) < 0.9) & (np.abs(roof[..., 1]) < 0.7)
            z = np.where(hit, top, ground)
            colours.append(_texture(back[:3, 3] + rays * z[..., None], hit))
            if abs(dx - 0.5) < 0.01 and abs(dy - 0.5) < 0.01:
                depth = z
    return np.mean(colours, axis=0), depth


def _texture(points, hit):
    x, y = points[..., 0], points[..., 1]
    waves = [0.5 + 0.25 * np.sin(3.4 * x + 2 * c) * np.cos(2.9 * y - c) + 0.2 * np.sin(1.9 * x - 2.3 * y + c)
             for c in range(3)]
    return np.stack([np.where(hit, 0.9 - 0.6 * w, w) for w in waves])
