"""A small textured place for tests of novel views: ground, four walls that leave the sky free, a pillar."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from rsnb.geometry.cameras import PanoramaCamera
from rsnb.geometry.poses import pose_from_heading
from rsnb.mesh.renderer import RenderOptions, render
from rsnb.mesh.scene import RayScene
from rsnb.scenes import Material, PosedImages, TexturedMesh

CAMERA = PanoramaCamera(160, 80)
SHARP = RenderOptions(supersample=2)


def noise_texture(rng, height_m, width_m, texels_per_m=16):
    """Blobs of 0.3 m and of 2 m in random colours, [H, W, 3] uint8."""
    shape = (int(height_m * texels_per_m), int(width_m * texels_per_m))
    layers = [ndimage.gaussian_filter(rng.normal(size=(*shape, 3)), (s, s, 0), mode="wrap") for s in (5, 30)]
    return np.clip(128 + 45 * sum(layer / layer.std() for layer in layers), 0, 255).astype(np.uint8)


def quad(corners):
    return np.array(corners, float)


def quads_of(half=12.0, height=9.0):
    """Ground, walls and a pillar of 1 x 1 x 4 m at (3, 2): [Q] arrays of four corners, seen from inside or outside."""
    h = half
    out = [quad([(-h, -h, 0), (h, -h, 0), (h, h, 0), (-h, h, 0)])]
    for (x0, y0), (x1, y1) in (((-h, -h), (h, -h)), ((h, -h), (h, h)), ((h, h), (-h, h)), ((-h, h), (-h, -h))):
        out.append(quad([(x0, y0, 0), (x1, y1, 0), (x1, y1, height), (x0, y0, height)]))
    p = [(2.5, 1.5), (3.5, 1.5), (3.5, 2.5), (2.5, 2.5)]
    for (x0, y0), (x1, y1) in zip(p, p[1:] + p[:1], strict=True):
        out.append(quad([(x0, y0, 0), (x1, y1, 0), (x1, y1, 4), (x0, y0, 4)]))
    return out


def mesh_of(textures, origin=(0.0, 0.0, 0.0)) -> TexturedMesh:
    """One quad and one texture (array or rgb triple) each."""
    quads = quads_of()
    vertices = np.concatenate(quads) + origin
    faces = np.concatenate([[(4 * q, 4 * q + 1, 4 * q + 2), (4 * q, 4 * q + 2, 4 * q + 3)] for q in range(len(quads))])
    uv = np.tile(np.array([[(0, 0), (1, 0), (1, 1)], [(0, 0), (1, 1), (0, 1)]], np.float32), (len(quads), 1, 1))
    materials = tuple(Material(f"m{k}", texture=t) if isinstance(t, np.ndarray) else Material(f"m{k}", rgb=t)
                      for k, t in enumerate(textures))
    return TexturedMesh(vertices, faces.astype(np.int32), uv, np.repeat(np.arange(len(quads)), 2).astype(np.int32),
                        materials, np.ones(2 * len(quads), np.int32), name="courtyard")


def sharp_textures(seed=0):
    rng = np.random.default_rng(seed)
    return [noise_texture(rng, 24 if k == 0 else (9 if k < 5 else 4), 24 if k < 5 else 1) for k in range(9)]


def blurred(textures, sigma=24):
    return [ndimage.gaussian_filter(t.astype(float), (sigma, sigma, 0), mode="nearest").astype(np.uint8)
            for t in textures]


def poses_at(places, origin=(0.0, 0.0, 0.0)):
    places = np.column_stack([np.array(places, float), np.full(len(places), 1.8)])
    return pose_from_heading(places + origin, np.linspace(0.3, 2.0, len(places)))


SOURCES = [(-8, -6), (-3, -5), (2, -6), (7, -5), (-6, 1), (0, 2), (6.5, 5), (-5, 7)]
TARGETS = [(-5.5, -4.5), (-0.5, -4.0), (4.5, -3.5), (-3, 3.5)]


def photographs(mesh: TexturedMesh, poses) -> tuple[PosedImages, np.ndarray]:
    """Pictures of a mesh and [N, H, W] where they show it."""
    scene = RayScene(mesh)
    views = [render(scene, CAMERA, pose, RenderOptions(supersample=3)) for pose in poses]
    names = tuple(f"view {k}" for k in range(len(views)))
    return PosedImages(np.stack([v.rgb for v in views]), poses, "panorama", names), np.stack(
        [v.prim >= 0 for v in views])


def courtyard():
    """The scene with blurred textures that methods are given, pictures of the true one, left-out ones, their mask."""
    textures = sharp_textures()
    true = mesh_of(textures)
    sources, _ = photographs(true, poses_at(SOURCES))
    targets, mask = photographs(true, poses_at(TARGETS))
    return RayScene(mesh_of(blurred(textures))), sources, targets, mask
