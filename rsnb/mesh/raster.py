"""Face ids by rasterisation: an OpenGL pass over EGL, without a display, for machines with a GPU.

The graphics card says which face each pixel sees; everything after that (weights, depth, texture, light) is the same
torch code as for rays, from ids alone. So the two backends can differ only in ids: on edges, where OpenGL snaps corners
to 1/256 pixel, in less than 1 pixel of 1000 unless triangles are but a few pixels large. Perspective and nadir cameras
only: a panorama would need a cube map, whose resampling gets 2 to 5 % of the ids wrong, while rays get them right.

A software driver (Mesa's llvmpipe) serves as well, for tests.
"""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import torch

from rsnb.errors import InputError
from rsnb.geometry.poses import camera_centre
from rsnb.mesh.refine import ray_triangle
from rsnb.mesh.scene import Hits, RayScene

NEAR_M = 0.05

_VERTEX = """
#version 330
in vec3 position;
uniform mat3 turn;
uniform vec3 eye;
uniform vec4 lens;      // fx, fy, cx, cy as fractions of the picture
uniform float skew;
uniform float flat_view;  // 1: orthographic
uniform float reach;
out vec3 place;
void main() {
    place = turn * (position - eye);
    float w = mix(place.z, 1.0, flat_view);
    vec2 pixel = vec2(lens.x * place.x + skew * place.y, lens.y * place.y) + lens.zw * w;
    // Only clips: the depth test uses the distance that the other shader writes.
    float z = mix(w - 2.0 * near_m(), 2.0 * place.z / reach - 1.0, flat_view);
    gl_Position = vec4(2.0 * pixel - w, z, w);
}
"""
_FRAGMENT = """
#version 330
in vec3 place;
uniform float flat_view;
uniform float reach;
layout(location = 0) out int face;
layout(location = 1) out float distance_m;
void main() {
    face = gl_PrimitiveID;
    distance_m = mix(length(place), place.z, flat_view);
    // Even steps of distance: a perspective depth buffer is 0.3 m coarse at 500 m.
    gl_FragDepth = distance_m / reach;
}
"""


def rasterise(scene: RayScene, camera, world_to_cam: np.ndarray, offset: tuple[float, float] = (0.5, 0.5)):
    """Face ids of a picture, as a function that gives `Hits` for a slice of its pixels.

    Args:
        camera: PinholeCamera or NadirCamera.
        offset: the point of each pixel that is looked at.

    Returns:
        hits(part, origins, directions): rays relative to the scene's centre, float32, of the pixels of slice `part`.

    Raises:
        InputError: the camera is a panorama, or OpenGL cannot be had.
    """
    prim = face_ids(scene, camera, world_to_cam, offset).reshape(-1)

    def hits(part: slice, origins: np.ndarray, directions: np.ndarray) -> Hits:
        return hits_of_faces(scene, prim[part], origins, directions)

    return hits


def face_ids(scene: RayScene, camera, world_to_cam: np.ndarray, offset: tuple[float, float] = (0.5, 0.5)) -> np.ndarray:
    """[H, W] int32 face seen through the point `offset` of each pixel, -1 for none. Errors as `rasterise`."""
    lens, skew, flat = _lens(camera, offset)
    if not hasattr(scene.of_thread, "raster"):
        scene.of_thread.raster = IdRaster(scene)
    return scene.of_thread.raster.draw(camera, world_to_cam, lens, skew, flat)


def _lens(camera, offset: tuple[float, float]) -> tuple[np.ndarray, float, bool]:
    size = np.array([camera.width, camera.height], np.float64)
    shift = 0.5 - np.asarray(offset)
    if hasattr(camera, "gsd_m"):
        return np.concatenate([1.0 / (camera.gsd_m * size), (size / 2 + shift) / size]), 0.0, True
    if hasattr(camera, "K"):
        K = torch.as_tensor(camera.K).detach().cpu().double().numpy()
        return np.concatenate([K[[0, 1], [0, 1]] / size, (K[:2, 2] + shift) / size]), K[0, 1] / size[0], False
    raise InputError("the EGL backend draws perspective and nadir pictures only", where=type(camera).__name__,
                     mend="Use backend='embree' for panoramas: a cube map would get 2 to 5 % of the labels wrong")


def egl_context():
    """An OpenGL 3.3 context over EGL, without a display; whatever moderngl raises where there is none."""
    import moderngl

    # Triton and Mesa's software driver each bring an LLVM: where the driver's is loaded first, importing triton ends
    # the process with a segmentation fault, and torch imports it when the first optimiser is made.
    with suppress(ImportError):
        import triton  # noqa: F401
    return moderngl.create_context(standalone=True, backend="egl", require=330)


class IdRaster:
    """An OpenGL context with the faces of one scene in it. Belongs to the thread that made it."""

    def __init__(self, scene: RayScene):
        try:
            self.context = egl_context()
        except Exception as error:  # moderngl raises plain Exception, OSError or ImportError
            raise InputError(f"OpenGL over EGL cannot be had ({error})", where="backend='egl'",
                             mend="Install moderngl and an EGL driver (Debian: libegl1 libgl1-mesa-dri), or use "
                                  "backend='embree'") from error
        self.scene = scene
        source = _VERTEX.replace("near_m()", repr(NEAR_M))
        self.program = self.context.program(vertex_shader=source, fragment_shader=_FRAGMENT)
        vertices = self.context.buffer(scene.vertices.tobytes())
        faces = self.context.buffer(scene.faces.tobytes())
        self.mesh = self.context.vertex_array(self.program, [(vertices, "3f", "position")], faces)
        self.reach = float(np.linalg.norm(scene.mesh.bounds[1] - scene.mesh.bounds[0]))
        self.size: tuple[int, int] = (0, 0)

    def draw(self, camera, world_to_cam: np.ndarray, lens: np.ndarray, skew: float, flat: bool) -> np.ndarray:
        """[H, W] int32 face ids, -1 = nothing."""
        with self.context:  # another library's context (VTK's, say) may be the current one
            return self._draw(camera, world_to_cam, lens, skew, flat)

    def _draw(self, camera, world_to_cam: np.ndarray, lens: np.ndarray, skew: float, flat: bool) -> np.ndarray:
        pose = np.asarray(world_to_cam, np.float64)
        eye = camera_centre(pose) - self.scene.centre
        self._resize((camera.width, camera.height))
        program = self.program
        program["turn"].write(np.ascontiguousarray(pose[:3, :3].T, np.float32).tobytes())  # GLSL stores columns
        program["eye"].value = tuple(eye)
        program["lens"].value = tuple(lens)
        program["skew"].value, program["flat_view"].value = float(skew), float(flat)
        # Nothing of the scene is farther than from the eye to its middle and once more across.
        program["reach"].value = float(np.linalg.norm(eye)) + self.reach
        self.context.enable_only(self.context.DEPTH_TEST)
        self.target.use()
        self.target.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        self.mesh.render()
        shape = camera.height, camera.width
        face = np.frombuffer(self.target.read(components=1, attachment=0, dtype="i4"), np.int32).reshape(shape)
        # Clearing does not define integer attachments; where the distance is still 0 nothing was drawn.
        distance = np.frombuffer(self.target.read(components=1, attachment=1, dtype="f4"), np.float32).reshape(shape)
        return np.where(distance > 0, face, np.int32(-1))

    def _resize(self, size: tuple[int, int]) -> None:
        if size != self.size:
            face = self.context.texture(size, 1, dtype="i4")
            distance = self.context.texture(size, 1, dtype="f4")
            depth = self.context.depth_renderbuffer(size)
            self.target = self.context.framebuffer([face, distance], depth)
            self.size = size


def hits_of_faces(scene: RayScene, prim: np.ndarray, origins: np.ndarray, directions: np.ndarray) -> Hits:
    """Distance and weights of rays [1 or N, 3], [N, 3] (float32, relative to the scene's centre) on known faces [N]."""
    index = np.flatnonzero(prim >= 0)
    start = torch.from_numpy(origins if len(origins) == 1 else origins[index]).expand(len(index), 3)
    corners = torch.from_numpy(scene.vertices[scene.faces[prim[index]]])
    found = ray_triangle(start, torch.from_numpy(directions[index]), corners)
    distance = np.full(len(prim), np.inf, np.float32)
    u, v = np.zeros(len(prim), np.float32), np.zeros(len(prim), np.float32)
    for array, values in zip((distance, u, v), found, strict=True):
        array[index] = values.numpy()
    return Hits(distance, prim.astype(np.int32), u, v)
