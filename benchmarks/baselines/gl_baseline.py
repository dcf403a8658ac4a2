"""A plain textured rasteriser on OpenGL: what one would write instead of casting rays. A baseline, not a backend."""

from __future__ import annotations

import moderngl
import numpy as np

from rsnb.geometry import camera_centre
from rsnb.mesh import RayScene

VERTEX = """
#version 330
in vec3 position;
in vec2 uv;
in int face;
uniform mat4 view;
uniform vec3 eye;
out vec2 st;
out vec3 away;
flat out int id;
void main() {
    st = uv;
    away = position - eye;
    id = face;
    gl_Position = view * vec4(position, 1.0);
}
"""
FRAGMENT = """
#version 330
in vec2 st;
in vec3 away;
flat in int id;
uniform sampler2D picture;
uniform vec3 tint;
layout(location = 0) out vec4 colour;
layout(location = 1) out float distance_m;
layout(location = 2) out int face;
void main() {
    colour = vec4(texture(picture, st).rgb * tint, 1.0);
    distance_m = length(away);
    face = id;
}
"""
NEAR, FAR = 0.3, 1200.0


class GlScene:
    """One mesh, one picture size (square pixels, principal point in the middle)."""

    def __init__(self, scene: RayScene, camera):
        self.scene, self.camera = scene, camera
        self.context = moderngl.create_context(standalone=True, backend="egl", require=330)
        self.name = f"moderngl {moderngl.__version__}, {self.context.info['GL_RENDERER']}"
        self.program = self.context.program(vertex_shader=VERTEX, fragment_shader=FRAGMENT)
        size = camera.width, camera.height
        self.parts = [self._part(number, material) for number, material in enumerate(scene.mesh.materials)]
        self.target = self.context.framebuffer(
            [self.context.texture(size, 4), self.context.texture(size, 1, dtype="f4"),
             self.context.texture(size, 1, dtype="i4")], self.context.depth_renderbuffer(size))
        K = camera.K.numpy()
        self.projection = np.array([
            [2 * K[0, 0] / size[0], 0, 0, 0], [0, 2 * K[1, 1] / size[1], 0, 0],
            [0, 0, (FAR + NEAR) / (FAR - NEAR), -2 * FAR * NEAR / (FAR - NEAR)], [0, 0, 1, 0]])

    def _part(self, number: int, material):
        mesh = self.scene.mesh
        keep = np.flatnonzero(mesh.face_material == number)
        if len(keep) == 0:
            return None
        corner = np.zeros(3 * len(keep), [("position", "f4", 3), ("uv", "f4", 2), ("face", "i4")])
        corner["position"] = self.scene.vertices[mesh.faces[keep]].reshape(-1, 3)
        corner["uv"] = mesh.uv[keep].reshape(-1, 2)
        corner["face"] = np.repeat(keep, 3)
        picture = material.texture if material.texture is not None else np.full((1, 1, 3), 255, np.uint8)
        texture = self.context.texture(picture.shape[1::-1], 3, np.ascontiguousarray(picture[::-1]).tobytes(),
                                       alignment=1)
        texture.build_mipmaps()
        texture.filter = moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR
        array = self.context.vertex_array(self.program, [(self.context.buffer(corner.tobytes()), "3f 2f 1i",
                                                          "position", "uv", "face")])
        return array, texture, material.rgb

    def draw(self, pose: np.ndarray) -> dict:
        """Colour [H, W, 3] uint8, depth, semantic and prim [H, W], row 0 on top."""
        with self.context:  # another library's context may be the current one
            return self._draw(pose)

    def _draw(self, pose: np.ndarray) -> dict:
        eye = camera_centre(pose) - self.scene.centre
        view = np.eye(4)
        view[:3, :3], view[:3, 3] = pose[:3, :3], -pose[:3, :3] @ eye
        self.program["view"].write(np.ascontiguousarray((self.projection @ view).T, np.float32).tobytes())
        self.program["eye"].value = tuple(eye)
        self.context.enable_only(moderngl.DEPTH_TEST)
        self.target.use()
        self.target.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        for part in self.parts:
            if part is not None:
                array, texture, tint = part
                texture.use(0)
                self.program["tint"].value = tint
                array.render()
        shape = self.camera.height, self.camera.width
        colour = np.frombuffer(self.target.read(components=3, alignment=1), np.uint8).reshape(*shape, 3)
        depth = np.frombuffer(self.target.read(components=1, attachment=1, dtype="f4"), np.float32).reshape(shape)
        face = np.frombuffer(self.target.read(components=1, attachment=2, dtype="i4"), np.int32).reshape(shape)
        prim = np.where(depth > 0, face, -1)  # clearing does not define integer attachments
        semantic = np.where(prim >= 0, self.scene.semantic[prim], 0)
        depth = np.where(depth > 0, depth, np.float32(np.inf))
        return {"rgb": colour, "depth": depth, "semantic": semantic, "prim": prim}
