"""CityJSON 1.0, 1.1 and 2.0 (cityjson.org/specs), and CityJSON text sequences (one feature a line)."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from rsnb.data.meshes.class_tables import surface_class
from rsnb.data.meshes.polygons import PolygonCollector
from rsnb.data.meshes.reading import DEFAULTS, Reading, ReadOptions
from rsnb.data.meshes.srs import parse_srs, to_easting_northing
from rsnb.errors import InputError
from rsnb.files import require_file
from rsnb.scenes import Georeference, Material, TexturedMesh

# How many lists lie around a surface (= a list of rings) in `boundaries`.
_DEPTH = {"MultiSurface": 0, "CompositeSurface": 0, "Solid": 1, "MultiSolid": 2, "CompositeSolid": 2}


def read_cityjson(
    path: str | Path,
    georeference: Georeference | None = None,
    options: ReadOptions = DEFAULTS,
    reading: Reading | None = None,
) -> TexturedMesh:
    """Read a CityJSON file: each surface's class, texture or material, and its city object as instance.

    Of an object and its parts one level of detail is taken: the one asked for ("2" also takes 2.2, the highest),
    else the highest that has a texture, else the highest. The file's CRS holds over that of `georeference`.

    Raises:
        InputError: not CityJSON, an index that points nowhere, no surface at the level of detail asked for.
    """
    path = require_file(path, "CityJSON file")
    own = reading is None
    reading = reading or Reading(options)
    collector, crs = PolygonCollector(reading), None
    objects: dict[str, int] = {}
    for document in _documents(path):
        try:
            model = _Model(path, document, reading, collector, objects)
            model.collect()
        except InputError:
            raise
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError(f"the file is not built as CityJSON is ({type(error).__name__}: {error})", where=path,
                             mend="Check it with a CityJSON validator, or export it again") from None
        crs = crs or model.crs
    given = georeference or Georeference()
    mesh = collector.mesh(path.stem, path, Georeference(crs or given.crs, given.origin, given.epoch))
    if own:
        reading.report(path)
    return mesh


def _documents(path: Path) -> list[dict]:
    """The city model, or each feature of a sequence with what it inherits from the first line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"byte {error.start} is no UTF-8 text", where=path, mend="Save the file as UTF-8") from None
    try:
        try:
            documents = [json.loads(text)]
        except json.JSONDecodeError as error:
            if not error.msg.startswith("Extra data"):
                raise
            documents = [json.loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError as error:
        raise InputError(f"this is no JSON ({error.msg}, column {error.colno})", where=path, line=error.lineno,
                         mend="The file is cut short or was edited: fetch it again") from None
    except (RecursionError, ValueError) as error:  # nested too deep, or a number of thousands of digits
        raise InputError(f"this JSON cannot be read ({error})", where=path, mend="Name a CityJSON file") from None
    first = documents[0]
    if not isinstance(first, dict) or first.get("type") not in ("CityJSON", "CityJSONFeature"):
        raise InputError('the key "type" is not "CityJSON"', where=path, mend="Name a CityJSON file")
    if bad := next((d for d in documents if not isinstance(d, dict)), None):
        raise InputError(f"`{str(bad)[:60]}` among its lines is no feature", where=path, mend="Remove that line")
    inherited = {k: first[k] for k in ("transform", "metadata", "geometry-templates") if k in first}
    return [first] + [inherited | line for line in documents[1:]]


def _flat(nested, depth: int) -> list:
    """The lists `depth` levels down, one after the other; None stays None."""
    for _ in range(depth):
        nested = [item for part in nested or [] for item in (part if part is not None else [None])]
    return list(nested or [])


class _Model:
    """One CityJSON document."""

    def __init__(self, path: Path, document: dict, reading: Reading, collector: PolygonCollector, objects: dict):
        self.path, self.document, self.reading, self.collector = path, document, reading, collector
        self.objects = objects
        self.crs = parse_srs((document.get("metadata") or {}).get("referenceSystem"))
        points = np.array(document.get("vertices") or np.zeros((0, 3)), dtype=np.float64).reshape(-1, 3)
        if transform := document.get("transform"):
            points = points * np.array(transform["scale"]) + np.array(transform["translate"])
        named = self.crs
        points, self.crs = to_easting_northing(points, named)
        if named and not self.crs:
            reading.notes.append(f"its coordinate system {named} is unknown")
        self.points = points.tolist()
        bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
        if len(bad):
            raise InputError(f"vertex {bad[0]} (from 0) is not a finite number", where=path,
                             mend="Remove or repair that vertex in the file")
        self.appearance = document.get("appearance") or {}
        self.texture_corners = self.appearance.get("vertices-texture") or []

    def collect(self) -> None:
        """Hand all surfaces of all city objects to the collector."""
        city_objects = self.document.get("CityObjects") or {}
        families = defaultdict(list)
        for key in city_objects:
            families[self._root(key, city_objects)].append(key)
        levels, without = set(), 0
        for root, members in families.items():
            shapes = [(key, g) for key in members for g in city_objects[key].get("geometry") or []
                      if g.get("type") in _DEPTH or g.get("type") == "GeometryInstance"]
            levels |= {self._lod(g) for _, g in shapes}
            chosen = self._choose(shapes)
            without += bool(shapes) and not chosen
            for key, geometry in chosen:
                number = self.objects.setdefault(root, len(self.objects) + 1)
                self._geometry(geometry, city_objects[key]["type"], number, key)
        if without:
            text = f"{without} objects have no level of detail {self.reading.options.lod}"
            if not self.objects:
                raise InputError(text, where=self.path, mend=f"The file has {', '.join(sorted(levels))}")
            self.reading.notes.append(text)

    @staticmethod
    def _root(key: str, city_objects: dict) -> str:
        seen = {key}
        while parents := [p for p in city_objects[key].get("parents") or [] if p in city_objects and p not in seen]:
            if city_objects[parents[0]]["type"] in ("CityObjectGroup",):
                break
            key = parents[0]
            seen.add(key)
        return key

    def _lod(self, geometry: dict) -> str:
        if geometry.get("type") == "GeometryInstance":
            geometry = self._template(geometry)
        text = str(geometry.get("lod", "0"))
        return text.removesuffix(".0")

    def _choose(self, shapes: list[tuple[str, dict]]) -> list[tuple[str, dict]]:
        wanted = self.reading.options.lod
        if wanted is not None:
            shapes = [s for s in shapes if self._lod(s[1]) == wanted or self._lod(s[1]).split(".")[0] == wanted]
        if not shapes:
            return []
        best = max(shapes, key=lambda s: (bool(s[1].get("texture")), [float(x) for x in self._lod(s[1]).split(".")]))
        return [s for s in shapes if self._lod(s[1]) == self._lod(best[1])]

    def _template(self, geometry: dict) -> dict:
        try:
            return self.document["geometry-templates"]["templates"][geometry["template"]]
        except (KeyError, IndexError, TypeError):
            raise InputError(f"geometry template {geometry.get('template')} is not there", where=self.path,
                             mend="The file is incomplete: export it again") from None

    def _geometry(self, geometry: dict, object_type: str, number: int, key: str) -> None:
        points = self.points
        if geometry["type"] == "GeometryInstance":
            anchor = np.array(points[geometry["boundaries"][0]])
            matrix = np.array(geometry["transformationMatrix"], dtype=np.float64).reshape(4, 4)
            geometry = self._template(geometry)
            corners = np.array(self.document["geometry-templates"]["vertices-templates"], dtype=np.float64)
            points = (corners @ matrix[:3, :3].T + matrix[:3, 3] + anchor).tolist()
        if geometry["type"] not in _DEPTH:
            return
        depth = _DEPTH[geometry["type"]]
        surfaces = _flat(geometry.get("boundaries"), depth)
        kinds = self._kinds(geometry, depth, len(surfaces), object_type)
        textures = self._theme("texture", geometry.get("texture"), depth, len(surfaces))
        materials = self._theme("material", geometry.get("material"), depth, len(surfaces))
        for surface, kind, texture, material in zip(surfaces, kinds, textures, materials, strict=True):
            try:
                rings = [[points[self._index(i, len(points), key)] for i in ring] for ring in surface]
                look, uvs = self._look(texture, material, kind, rings)
            except (IndexError, TypeError, KeyError) as error:
                raise InputError(f"a surface of object {key} cannot be followed ({type(error).__name__}: {error})",
                                 where=self.path, mend="The file is damaged: export it again") from None
            self.collector.add(rings, uvs, look, kind, number)

    def _index(self, index: int, count: int, key: str) -> int:
        if not 0 <= index < count:
            raise InputError(f"a surface of object {key} names vertex {index}, but there are only {count}",
                             where=self.path, mend="The file is cut short or its indices are off")
        return index

    def _kinds(self, geometry: dict, depth: int, count: int, object_type: str) -> list[int]:
        fallback = surface_class(object_type.lstrip("+"))
        semantics = geometry.get("semantics")
        if not semantics:
            return [fallback] * count
        types = [surface_class(s.get("type", "")) or fallback for s in semantics.get("surfaces") or []]
        values = _flat(semantics.get("values"), depth)
        values += [None] * (count - len(values))
        return [fallback if v is None else types[v] for v in values[:count]]

    def _theme(self, kind: str, themes: dict | None, depth: int, count: int) -> list:
        """Per surface the entry of the theme asked for, else of the first (the file's default, then the file's order)
        that says something about it; `kind` is "texture" or "material"."""
        result = [None] * count
        wanted = self.reading.options.theme
        default = self.appearance.get(f"default-theme-{kind}")
        for name, theme in sorted((themes or {}).items(), key=lambda item: item[0] != default):
            if wanted is not None and name != wanted:
                continue
            if "value" in theme:
                values = [theme["value"]] * count
            else:
                values = _flat(theme.get("values"), depth)
            for i, value in enumerate(values[:count]):
                if result[i] is None and value is not None and (not isinstance(value, list) or _says(value)):
                    result[i] = value
        return result

    def _look(self, texture, material, kind: int, rings: list) -> tuple[int, list | None]:
        """Material index and per ring texture coordinates of a surface."""
        if texture is not None:
            index = texture[0][0]
            picture = self.appearance["textures"][index]
            array = self.reading.texture(self.path.parent, picture["image"])
            if array is not None:
                name = Path(picture["image"]).name
                look = self.collector.material(("texture", picture["image"]), lambda: Material(name, texture=array))
                uvs = [[self.texture_corners[i] for i in ring[1:]] if ring and ring[0] is not None else None
                       for ring in texture]
                uvs += [None] * (len(rings) - len(uvs))
                return look, [[(0.0, 0.0)] * len(r) if uv is None else uv for r, uv in zip(rings, uvs, strict=False)]
        if material is not None:
            row = self.appearance["materials"][material]
            colour = row.get("diffuseColor")
            if colour is not None:
                name, rgb = str(row.get("name", material)), tuple(float(c) for c in colour)
                return self.collector.material(("material", name, rgb), lambda: Material(name, rgb)), None
        return self.collector.plain_material(kind), None


def _says(texture: list) -> bool:
    """True where a surface's texture entry names a texture: `[[null]]` does not."""
    return bool(texture) and bool(texture[0]) and texture[0][0] is not None
