"""A density volume as files: VTK grid, surface mesh as PLY and GLB, height map as TIFF with its place.

Each file is replaced on its own and atomically; nothing else in a folder is touched.
"""

from __future__ import annotations

import io
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from rsnb.errors import InputError
from rsnb.files import atomic_path
from rsnb.geometry.isosurface import density_surface, tile_colours
from rsnb.products.geotiff import write_geotiff
from rsnb.products.images import to_uint8, write_float_tiff
from rsnb.scenes import Georeference

ORIGINAL_CLIP = 10.0  # Sat2Density clips the densities of its volume file here


@dataclass(frozen=True)
class TileVolume:
    """One density volume with its tile, in numpy.

    Attributes:
        sigma: [D, S, S] density, 1 / m; slice 0 lowest, row 0 north, column 0 west.
        tile: [3, C, C] colours 0..1 of the same ground.
        extent_m, ceiling_m: side of the tile and height of the volume, metres.

    Raises:
        InputError: shapes that do not fit, densities that are negative or not a number, lengths that are not above 0.
    """

    sigma: np.ndarray
    tile: np.ndarray
    extent_m: float
    ceiling_m: float

    def __post_init__(self):
        for name in ("sigma", "tile"):
            value = getattr(self, name)
            object.__setattr__(self, name, np.asarray(value.detach().cpu() if hasattr(value, "detach") else value))
        sigma, tile = self.sigma, self.tile
        if sigma.ndim != 3 or sigma.shape[1] != sigma.shape[2] or not sigma.size:
            raise InputError(f"sigma has shape {sigma.shape}, expected [D, S, S]", where="TileVolume",
                             mend="Give one volume of a batch")
        if tile.ndim != 3 or tile.shape[0] != 3 or tile.shape[1] != tile.shape[2]:
            raise InputError(f"the tile has shape {tile.shape}, expected [3, C, C]", where="TileVolume")
        if not (sigma >= 0).all():  # false for nan as well
            raise InputError("sigma holds densities that are negative or not a number", where="TileVolume",
                             mend="Check the network's output")
        if not 0 < self.extent_m < np.inf or not 0 < self.ceiling_m < np.inf:
            raise InputError(f"extent_m is {self.extent_m} and ceiling_m {self.ceiling_m}", where="TileVolume",
                             mend="Give metres above 0")

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Metres from voxel to voxel, east, north, up."""
        depth, side, _ = self.sigma.shape
        return self.extent_m / side, self.extent_m / side, self.ceiling_m / depth

    @property
    def level(self) -> float:
        """The density that lets half of the light through the longer side of a voxel, 1 / m."""
        return float(np.log(2.0) / max(self.spacing))


def write_volume_vtk(path: str | Path, volume: TileVolume, layout: Literal["metric", "grid"] = "metric") -> Path:
    """Write the densities as legacy VTK structured points (VTK File Formats, 3.0), for ParaView and the like.

    Args:
        path: of the file, .vtk.
        volume: what to write.
        layout: "metric": axes east, north, up in tile metres, densities in 1 / m; "grid": as Sat2Density's own file,
            axes row, column, slice in unit steps from 0, densities per half tile and clipped at 10.

    Returns:
        The path.

    Raises:
        InputError: another layout.
    """
    if layout == "metric":
        spacing = volume.spacing
        origin = (spacing[0] / 2 - volume.extent_m / 2, spacing[1] / 2 - volume.extent_m / 2, spacing[2] / 2)
        name, values = "sigma_per_m", volume.sigma[:, ::-1, :]  # x runs fastest, then y from south to north, then z
    elif layout == "grid":
        spacing, origin, name = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), "sigma_per_half_tile"
        values = np.minimum(volume.sigma * (volume.extent_m / 2), ORIGINAL_CLIP).transpose(0, 2, 1)
    else:
        raise InputError(f"there is no layout {layout!r}", where=path, mend='Use "metric" or "grid"')
    said = "tile metres, x east y north z up" if layout == "metric" else "row, column, slice"
    header = "\n".join([
        "# vtk DataFile Version 3.0", f"density volume, {said}", "BINARY", "DATASET STRUCTURED_POINTS",
        "DIMENSIONS {} {} {}".format(*values.shape[::-1]), "ORIGIN {!r} {!r} {!r}".format(*map(float, origin)),
        "SPACING {!r} {!r} {!r}".format(*map(float, spacing)), f"POINT_DATA {values.size}", f"SCALARS {name} float 1",
        "LOOKUP_TABLE default", ""])
    with atomic_path(path) as temporary:
        temporary.write_bytes(header.encode("ascii") + np.ascontiguousarray(values, ">f4").tobytes() + b"\n")
    return Path(path)


def write_surface_ply(path: str | Path, volume: TileVolume, level: float | None = None) -> Path:
    """Write the surface of the volume as binary PLY: tile metres, z up, colours of the tile at the vertices.

    Args:
        path: of the file, .ply.
        volume: what to write; closed at its border and at the ground.
        level: density of the surface, 1 / m; None: the one that lets half of the light through a voxel.

    Raises:
        InputError: nothing is that dense.
    """
    vertices, faces = density_surface(volume.sigma, volume.extent_m, volume.ceiling_m, level or volume.level)
    rgb = np.clip(tile_colours(vertices, volume.tile, volume.extent_m), 0, 1) * 255 + 0.5
    corners = np.empty(len(vertices), [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    corners["xyz"], corners["rgb"] = vertices, rgb.astype(np.uint8)
    triangles = np.empty(len(faces), [("n", "u1"), ("corners", "<i4", 3)])
    triangles["n"], triangles["corners"] = 3, faces
    header = "\n".join([
        "ply", "format binary_little_endian 1.0", "comment tile metres, x east, y north, z up",
        f"element vertex {len(vertices)}", *(f"property float {axis}" for axis in "xyz"),
        *(f"property uchar {colour}" for colour in ("red", "green", "blue")),
        f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", ""])
    with atomic_path(path) as temporary:
        temporary.write_bytes(header.encode("ascii") + corners.tobytes() + triangles.tobytes())
    return Path(path)


def write_surface_glb(path: str | Path, volume: TileVolume, level: float | None = None, ground: bool = True) -> Path:
    """Write the surface as binary glTF 2.0, textured by the tile: y up and metres, as glTF has it; north is -z.

    Args:
        path: of the file, .glb.
        volume: what to write; closed at its border and at the ground.
        level: as for `write_surface_ply`.
        ground: the tile itself as a second node, a square at height 0.

    Raises:
        InputError: nothing is that dense.
    """
    half = volume.extent_m / 2
    parts = {"density": density_surface(volume.sigma, volume.extent_m, volume.ceiling_m, level or volume.level)}
    if ground:
        square = np.array([[-half, -half, 0], [half, -half, 0], [half, half, 0], [-half, half, 0]])
        parts["ground"] = (square, np.array([[0, 1, 2], [0, 2, 3]]))
    picture = io.BytesIO()
    Image.fromarray(to_uint8(volume.tile)).save(picture, format="PNG")
    gltf = _Gltf()
    for name, (vertices, faces) in parts.items():
        uv = np.stack([0.5 + vertices[:, 0] / volume.extent_m, 0.5 - vertices[:, 1] / volume.extent_m], axis=1)
        gltf.add(name, vertices[:, [0, 2, 1]] * (1, 1, -1), faces, uv)
    with atomic_path(path) as temporary:
        temporary.write_bytes(gltf.packed(picture.getvalue()))
    return Path(path)


def write_height(path: str | Path, height: np.ndarray, extent_m: float, georeference: Georeference | None = None,
                 centre: tuple[float, float] = (0.0, 0.0)) -> Path:
    """Write a height map as float32 TIFF: a GeoTIFF where the tile has a place on Earth.

    Args:
        path: of the file, .tif.
        height: [S, S] metres above the ground, row 0 north; nan = unknown, -9999 in a GeoTIFF.
        extent_m: side of the tile, metres.
        georeference: of the model in which the tile lies; without one, or without a CRS, pixel size and unit stand in
            the file's description as JSON.
        centre: of the tile, model metres east and north.

    Raises:
        InputError: another shape, an extent that is not above 0, an unknown CRS.
    """
    height = np.asarray(height.detach().cpu() if hasattr(height, "detach") else height)
    if height.ndim != 2 or height.shape[0] != height.shape[1] or not 0 < extent_m < np.inf:
        raise InputError(f"heights of shape {height.shape} on a tile of {extent_m} m", where=path,
                         mend="Give [S, S] and metres above 0")
    gsd = extent_m / len(height)
    if georeference is None or georeference.crs is None:
        return write_float_tiff(path, height, {"quantity": "height above the ground", "unit": "m", "gsd_m": gsd,
                                               "row_0": "north", "unknown": "nan"})
    corner = (centre[0] - extent_m / 2, centre[1] + extent_m / 2)
    return write_geotiff(path, height, corner, gsd, georeference, nodata=-9999.0)


class _Gltf:
    """Nodes of one textured material, gathered into one binary file."""

    def __init__(self):
        self.blobs, self.views, self.accessors, self.meshes, self.nodes = [], [], [], [], []

    def add(self, name: str, points: np.ndarray, faces: np.ndarray, uv: np.ndarray) -> None:
        points = points.astype("<f4")
        bounds = {"min": points.min(axis=0).tolist(), "max": points.max(axis=0).tolist()}
        attributes = {"POSITION": self._accessor(points, 34962, 5126, "VEC3", **bounds),
                      "TEXCOORD_0": self._accessor(uv.astype("<f4"), 34962, 5126, "VEC2")}
        indices = self._accessor(faces.astype("<u4").reshape(-1), 34963, 5125, "SCALAR")
        self.meshes.append({"name": name, "primitives": [
            {"attributes": attributes, "indices": indices, "material": 0, "mode": 4}]})
        self.nodes.append({"name": name, "mesh": len(self.meshes) - 1})

    def packed(self, png: bytes) -> bytes:
        image = self._view(png)
        clamp = 33071
        document = {
            "asset": {"version": "2.0", "generator": "rsnb"}, "scene": 0,
            "scenes": [{"nodes": list(range(len(self.nodes)))}], "nodes": self.nodes, "meshes": self.meshes,
            "materials": [{"name": "tile", "pbrMetallicRoughness": {
                "baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 1.0}}],
            "textures": [{"source": 0, "sampler": 0}], "samplers": [{"wrapS": clamp, "wrapT": clamp}],
            "images": [{"mimeType": "image/png", "bufferView": image}],
            "accessors": self.accessors, "bufferViews": self.views,
            "buffers": [{"byteLength": sum(map(len, self.blobs))}]}
        text = json.dumps(document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        data = b"".join(self.blobs)
        total = 12 + 8 + len(text) + 8 + len(data)
        return (struct.pack("<4sII", b"glTF", 2, total) + struct.pack("<I4s", len(text), b"JSON") + text
                + struct.pack("<I4s", len(data), b"BIN\0") + data)

    def _view(self, data: bytes, **more) -> int:
        view = {"buffer": 0, "byteOffset": sum(map(len, self.blobs)), "byteLength": len(data), **more}
        self.blobs.append(data + bytes(-len(data) % 4))
        self.views.append(view)
        return len(self.views) - 1

    def _accessor(self, array: np.ndarray, target: int, component: int, kind: str, **bounds) -> int:
        view = self._view(np.ascontiguousarray(array).tobytes(), target=target)
        self.accessors.append({"bufferView": view, "componentType": component, "count": len(array), "type": kind,
                               **bounds})
        return len(self.accessors) - 1
