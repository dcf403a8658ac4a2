"""The few frozen dataclasses that flow between rooms.

numpy inside: images float32 in 0..1 and channel first, poses and coordinates float64, textures uint8 row-major as on
disk. A reader in `rsnb.data` (or the city) makes them, a method room takes them, nobody changes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from rsnb.errors import InputError


@dataclass(frozen=True)
class Georeference:
    """Where model coordinates lie on Earth: world (easting, northing, height) = model + origin.

    Attributes:
        crs: anything pyproj understands ("EPSG:3879"), or None for a model without a place.
        origin: [3] float64, metres, added to model coordinates to get coordinates of `crs`.
        epoch: decimal year of the datum realisation (WGS84 drifts against plate-fixed datums), or None.
    """

    crs: str | None = None
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    epoch: float | None = None


@dataclass(frozen=True)
class Material:
    """One surface look. A texture, where there is one, is the colour; `rgb` multiplies it (1, 1, 1 leaves it alone).

    Attributes:
        name: as in the file.
        rgb: linear factor per channel, 0..1. Without a texture it is the colour itself.
        texture: [H, W, 3] uint8, first row = top of the picture, or None. Texture row of a coordinate v is
            (1 - v) * H (the OBJ convention: v up); coordinates outside 0..1 repeat.
    """

    name: str
    rgb: tuple[float, float, float] = (1.0, 1.0, 1.0)
    texture: np.ndarray | None = None


@dataclass(frozen=True)
class SemanticClass:
    """One row of a class table: the id that label images hold, a name, a display colour 0..255."""

    id: int
    name: str
    rgb: tuple[int, int, int]


@dataclass(frozen=True)
class TexturedMesh:
    """A textured triangle mesh with semantics and a place on Earth; what every mesh reader gives.

    Attributes:
        vertices: [V, 3] float64, model metres, x east, y north, z up.
        faces: [F, 3] int32 into `vertices`, counter-clockwise seen from outside.
        uv: [F, 3, 2] float32, texture coordinate of each face corner (OBJ convention, v up).
        face_material: [F] int32 into `materials`.
        materials: the looks.
        face_class: [F] int32, a `SemanticClass.id`; 0 = unclassified. Any id from 0 where `classes` is empty.
        classes: the class table (id 0 is reserved for "nothing there" and unclassified).
        face_object: [F] int32, instance id (a building, a tree); 0 = none.
        georeference: place on Earth.
        vertex_rgb: [V, 3] uint8 or None; multiplies the material like a texture does.
        name: for messages and file names.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    face_material: np.ndarray
    materials: tuple[Material, ...]
    face_class: np.ndarray
    classes: tuple[SemanticClass, ...] = ()
    face_object: np.ndarray | None = None
    georeference: Georeference = field(default_factory=Georeference)
    vertex_rgb: np.ndarray | None = None
    name: str = "mesh"

    def __post_init__(self):
        n_vertices, n_faces = len(self.vertices), len(self.faces)
        if n_faces == 0 or n_vertices == 0:
            raise InputError("the mesh has no faces", where=self.name, mend="Check that the file holds polygons")
        for what, array, shape in (
            ("vertices", self.vertices, (n_vertices, 3)),
            ("faces", self.faces, (n_faces, 3)),
            ("uv", self.uv, (n_faces, 3, 2)),
            ("face_material", self.face_material, (n_faces,)),
            ("face_class", self.face_class, (n_faces,)),
        ):
            if array.shape != shape:
                raise InputError(f"{what} has shape {array.shape}, expected {shape}", where=self.name)
        if not np.isfinite(self.vertices).all():
            bad = int(np.flatnonzero(~np.isfinite(self.vertices).all(axis=1))[0])
            raise InputError(f"vertex {bad} (from 0) is not a finite number", where=self.name,
                             mend="Remove or repair that vertex in the file")
        if self.faces.min() < 0 or self.faces.max() >= n_vertices:
            bad = int(np.flatnonzero(((self.faces < 0) | (self.faces >= n_vertices)).any(axis=1))[0])
            raise InputError(f"face {bad} (from 0) names vertices {self.faces[bad].tolist()}, but there are only "
                             f"{n_vertices}", where=self.name, mend="The file is cut short or its indices are off")
        if self.face_material.min() < 0 or self.face_material.max() >= len(self.materials):
            raise InputError("a face names a material that does not exist", where=self.name)
        known = np.isin(self.face_class, [0, *(c.id for c in self.classes)]) if self.classes else self.face_class >= 0
        if not known.all():
            bad = int(np.argmin(known))
            raise InputError(f"face {bad} (from 0) has class {self.face_class[bad]}, which the class table does not "
                             "hold", where=self.name, mend="Use ids of the table; 0 is unclassified")
        if not np.isfinite(self.uv).all():
            bad = int(np.argmin(np.isfinite(self.uv).all(axis=(1, 2))))
            raise InputError(f"face {bad} (from 0) has a texture coordinate that is not a finite number",
                             where=self.name, mend="Repair the coordinate in the file")

    @property
    def bounds(self) -> np.ndarray:
        """[2, 3] float64: lowest and highest corner, model metres."""
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)])

    def with_faces(self, keep: np.ndarray) -> TexturedMesh:
        """The same mesh with only the faces of a boolean mask [F] or index array, unused vertices dropped."""
        faces = self.faces[keep]
        used, compact = np.unique(faces, return_inverse=True)
        return replace(
            self,
            vertices=self.vertices[used],
            faces=compact.reshape(-1, 3).astype(np.int32),
            uv=self.uv[keep],
            face_material=self.face_material[keep],
            face_class=self.face_class[keep],
            face_object=None if self.face_object is None else self.face_object[keep],
            vertex_rgb=None if self.vertex_rgb is None else self.vertex_rgb[used],
        )


@dataclass(frozen=True)
class PosedImages:
    """Pictures with known cameras, all of one size and one camera model.

    Attributes:
        images: [N, 3, H, W] float32 in 0..1.
        world_to_cam: [N, 4, 4] float64, OpenCV axes, model metres.
        camera: "pinhole" (then K is given) or "panorama" (equirectangular, all of the sphere).
        K: [N, 3, 3] float64, pixels, pixel centres at +0.5; None for panoramas.
        names: one a picture.
        georeference: place of the model coordinates on Earth.
        z_depth: [N, H, W] float32 depth along the camera's z axis in the unit of the poses, nan where unknown; or None.
        near_far: [N, 2] float64, least and greatest z depth in each picture, or None.
    """

    images: np.ndarray
    world_to_cam: np.ndarray
    camera: Literal["pinhole", "panorama"]
    names: tuple[str, ...]
    K: np.ndarray | None = None
    georeference: Georeference = field(default_factory=Georeference)
    z_depth: np.ndarray | None = None
    near_far: np.ndarray | None = None

    def __post_init__(self):
        n = len(self.images)
        if self.images.ndim != 4 or self.images.shape[1] != 3:
            raise InputError(f"images have shape {self.images.shape}, expected [N, 3, H, W]", where="PosedImages")
        if self.world_to_cam.shape != (n, 4, 4) or len(self.names) != n:
            raise InputError(f"{n} images, but poses {self.world_to_cam.shape} and {len(self.names)} names",
                             where="PosedImages")
        if self.camera == "pinhole" and (self.K is None or self.K.shape != (n, 3, 3)):
            raise InputError("pinhole pictures need K of shape [N, 3, 3]", where="PosedImages")
        if self.z_depth is not None and self.z_depth.shape != (n, *self.images.shape[2:]):
            raise InputError(f"z_depth has shape {self.z_depth.shape}, the pictures {self.images.shape}",
                             where="PosedImages")
        if self.near_far is not None and self.near_far.shape != (n, 2):
            raise InputError(f"near_far has shape {self.near_far.shape}, expected [{n}, 2]", where="PosedImages")

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, index) -> PosedImages:
        """The pictures of an index array, in its order."""
        index = np.atleast_1d(np.asarray(index, dtype=int))
        return replace(self, images=self.images[index], world_to_cam=self.world_to_cam[index],
                       names=tuple(self.names[i] for i in index), K=None if self.K is None else self.K[index],
                       z_depth=None if self.z_depth is None else self.z_depth[index],
                       near_far=None if self.near_far is None else self.near_far[index])


@dataclass(frozen=True)
class TilePanoramaPairs:
    """Satellite tiles, each with the street panorama taken at a known place on it.

    Attributes:
        tiles: [N, 3, S, S] float32 in 0..1, up = north.
        panoramas: [N, 3, H, W] float32 in 0..1, full circle; columns run clockwise.
        ids: one a pair.
        heading: [N] float64, bearing of the panorama's centre column, radians.
        vertical_fov: of the panoramas, radians, centred on the horizon (pi: the whole sphere).
        sky: [N, H, W] bool, true where the panorama shows sky, or None.
        position: [N, 2] float64, metres east and north on one plane, nan where unknown; or None.
        offset_m: [N, 2] float64, metres east and north from the tile's centre to the camera.
        tile_extent_m: side of a tile on the ground, metres, or None where nobody states it.
        camera_height_m: above the ground, or None.
    """

    tiles: np.ndarray
    panoramas: np.ndarray
    ids: tuple[str, ...]
    heading: np.ndarray
    vertical_fov: float
    sky: np.ndarray | None = None
    position: np.ndarray | None = None
    offset_m: np.ndarray | None = None
    tile_extent_m: float | None = None
    camera_height_m: float | None = None

    def __post_init__(self):
        n = len(self.ids)
        wanted = {"tiles": (n, 3, *self.tiles.shape[-1:] * 2), "panoramas": (n, 3, *self.panoramas.shape[-2:]),
                  "heading": (n,), "sky": (n, *self.panoramas.shape[-2:]), "position": (n, 2), "offset_m": (n, 2)}
        for what, shape in wanted.items():
            array = getattr(self, what)
            if array is not None and array.shape != shape:
                raise InputError(f"{what} has shape {array.shape}, expected {shape}", where="TilePanoramaPairs")

    def __len__(self) -> int:
        return len(self.ids)

    def subset(self, index) -> TilePanoramaPairs:
        """The pairs of an index array or boolean mask, in its order."""
        index = np.arange(len(self))[np.atleast_1d(index)]
        rows = {name: getattr(self, name) for name in
                ("tiles", "panoramas", "heading", "sky", "position", "offset_m")}
        return replace(self, ids=tuple(self.ids[i] for i in index),
                       **{name: None if values is None else values[index] for name, values in rows.items()})


@dataclass(frozen=True)
class DatedStack:
    """One place on one grid at several dates.

    Attributes:
        images: [T, B, H, W] float32 reflectance (0..1, bright clouds above), nan where there is no data. In date order.
        dates: [T] datetime64[s], UTC, not decreasing.
        bands: B names, by the common names of STAC's eo extension ("blue", "green", "red", "nir" ...).
        clear: [T, H, W] bool, false under clouds, their shadows and where there is no data.
        transform: (a, b, c, d, e, f): x = a col + b row + c, y = d col + e row + f, of pixel corners.
        crs: of x and y, or None for a stack without a place.
        names: one a date: item ids or file names.
    """

    images: np.ndarray
    dates: np.ndarray
    bands: tuple[str, ...]
    clear: np.ndarray
    transform: tuple[float, float, float, float, float, float]
    crs: str | None
    names: tuple[str, ...]

    def __post_init__(self):
        if self.images.ndim != 4:
            raise InputError(f"images have shape {self.images.shape}, expected [T, B, H, W]", where="DatedStack")
        t, b, h, w = self.images.shape
        for what, found, expected in (
            ("dates", self.dates.shape, (t,)), ("names", (len(self.names),), (t,)), ("bands", (len(self.bands),), (b,)),
            ("clear", self.clear.shape, (t, h, w)), ("transform", (len(self.transform),), (6,)),
        ):
            if found != expected:
                raise InputError(f"{what} has shape {found}, expected {expected}", where="DatedStack")
        if np.isnat(self.dates).any() or (np.diff(self.dates) < np.timedelta64(0, "s")).any():
            raise InputError("dates are missing or not in order", where="DatedStack", mend="Sort the frames by date")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north of all pixels, units of `crs`."""
        a, b, c, d, e, f = self.transform
        h, w = self.images.shape[-2:]
        x = c + np.array([0.0, a * w, b * h, a * w + b * h])
        y = f + np.array([0.0, d * w, e * h, d * w + e * h])
        return float(x.min()), float(y.min()), float(x.max()), float(y.max())

    def days(self, origin=None) -> np.ndarray:
        """[T] float64 days from `origin` (anything numpy takes for a date; the first date if None)."""
        start = self.dates[0] if origin is None else np.datetime64(origin)
        return (self.dates - start.astype("datetime64[s]")) / np.timedelta64(1, "D")

    def subset(self, index) -> DatedStack:
        """The dates of an index array or boolean mask, in date order."""
        index = np.sort(np.arange(len(self))[index] if np.asarray(index).dtype == bool else np.atleast_1d(index))
        return replace(self, images=self.images[index], dates=self.dates[index], clear=self.clear[index],
                       names=tuple(self.names[i] for i in index))
