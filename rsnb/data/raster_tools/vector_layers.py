"""Shapes of the vector files that GDAL reads, through pyogrio: shapefile, GeoPackage, FlatGeobuf, KML; also packed.

GDAL passes over shapes that it cannot read without a word. What can be seen of that from outside is checked here: a
shapefile shorter than its header says, shapes that come out empty, checksums of archives.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rsnb.errors import InputError

# What each is called, and the drivers of GDAL that may read it (KML has two, not both in every build).
KINDS = {".gpkg": ("GeoPackage", "GPKG"), ".shp": ("shapefile", "ESRI Shapefile"), ".fgb": ("FlatGeobuf", "FlatGeobuf"),
         ".kml": ("KML file", "KML", "LIBKML")}
FILES = tuple(KINDS)
PACKED = (".zip", ".kmz")
# The index of the shapes, the attributes (a deleted shape is marked there alone) and the coordinate system.
_PARTS = (".shp", ".shx", ".dbf", ".prj")
_READABLE_IN_ARCHIVES = (".geojson", *FILES)
_MISREAD = "!?;"  # pyogrio takes what follows these in a path for parts of an address
_ONE_AT_A_TIME = threading.Lock()


class VectorWarning(UserWarning):
    """Shapes of a file that were passed over."""


@contextmanager
def plain_file(path: Path) -> Iterator[Path]:
    """A file that can be read as it stands: the one given, or a copy that goes when the block ends.

    Archives are unpacked. A shapefile is copied with its parts: GDAL writes a lost `.shx` anew beside the `.shp`, and
    the user's own folder is not the place for that. So is a file whose path pyogrio would not understand.

    Raises:
        HostileError: a member of an archive that is refused.
        InputError: no archive, a damaged one, or none or several vector files in it.
    """
    with tempfile.TemporaryDirectory() as folder:
        suffix = path.suffix.lower()
        if suffix in PACKED:
            yield _from_archive(path, Path(folder))
        elif suffix == ".shp":
            yield _with_its_parts(path, Path(folder))
        elif set(_MISREAD) & set(str(path.resolve())):
            yield Path(shutil.copyfile(path, Path(folder) / f"shapes{suffix}"))
        else:
            yield path.resolve()


def _with_its_parts(path: Path, folder: Path) -> Path:
    near = sorted(path.parent.iterdir(), key=lambda p: p.stem == path.stem)  # the very same name comes last and wins
    parts = {p.suffix.lower(): p for p in near if p.stem.lower() == path.stem.lower()} | {".shp": path}
    for suffix in _PARTS:
        if suffix in parts:
            shutil.copyfile(parts[suffix], folder / f"shapes{suffix}")
    return folder / "shapes.shp"


def _from_archive(path: Path, folder: Path) -> Path:
    from rsnb.data.download.archives import open_archive
    from rsnb.data.download.disk import free_bytes
    from rsnb.data.download.members import Limits

    with open_archive(path, Limits(), free_bytes(folder)) as archive:
        names = {member: Path(member.path) for member in archive.members if not member.folder}
        found = [name for name in names.values() if name.suffix.lower() in _READABLE_IN_ARCHIVES]
        if len(found) != 1:
            what = ", ".join(map(str, found[:4])) or f"none of {', '.join(_READABLE_IN_ARCHIVES)}"
            raise InputError(f"the archive holds {len(found)} vector files ({what})", where=path,
                             mend="Put one into it, or unpack it and name the one that is meant")
        whole = found[0].with_suffix("").as_posix().lower()
        for member, name in names.items():
            suffix = name.suffix.lower()
            mine = name == found[0] or (suffix in _PARTS and name.with_suffix("").as_posix().lower() == whole)
            if mine:
                with archive.open(member) as source, open(folder / f"shapes{suffix}", "wb") as target:
                    shutil.copyfileobj(source, target)
    return folder / f"shapes{found[0].suffix.lower()}"


def read_layers(file: Path, where: Path) -> tuple[list, str | None]:
    """(shapely shapes, CRS or None) of all layers that hold areas.

    Args:
        file: as `plain_file` gives it.
        where: the user's file, for messages.

    Raises:
        InputError: it cannot be read, or its layers have different coordinate systems.
    """
    from shapely.errors import ShapelyError

    if file.suffix == ".shp":
        _demand_whole(file, where)
    try:
        with _index_written_anew(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GDAL's own, on attributes and on codes it would have liked to know
            layers = list(_layers(file))
    except (RuntimeError, ValueError, OSError, UnboundLocalError, ShapelyError) as error:
        # pyogrio's own are RuntimeErrors; UnboundLocalError is how 0.13 fails on a coordinate system of nonsense
        text = str(error).replace(str(file), where.name).partition("; It might")[0].rstrip(".")
        raise InputError(f"this is no {KINDS[file.suffix.lower()][0]} that can be read ({text})", where=where,
                         mend="Export or copy the file again") from None
    layers = [layer for layer in layers if any(_is_area(shape) for shape in layer[0])] or layers
    systems = {crs for _, crs in layers}
    if len(systems) > 1:
        raise InputError(f"its {len(layers)} layers have different coordinate systems", where=where,
                         mend="Export the one wanted to a file of its own")
    shapes = [shape for layer, _ in layers for shape in layer]
    there = [shape for shape in shapes if shape is not None]
    if shapes and not there:
        raise InputError(f"none of its {len(shapes)} shapes can be read", where=where,
                         mend="Export or copy the file again")
    if len(there) < len(shapes):
        warnings.warn(f"{where}: {len(shapes) - len(there)} of {len(shapes)} shapes are empty or damaged and were "
                      "passed over.", VectorWarning, stacklevel=3)
    return there, next(iter(systems), None)


def _layers(file: Path) -> Iterator[tuple[list, str | None]]:
    import pyogrio
    import shapely

    for name, kind in pyogrio.list_layers(file):
        if kind is None:  # a table without shapes
            continue
        told = pyogrio.read_info(file, layer=name)
        if told["driver"] not in KINDS[file.suffix.lower()]:  # GDAL goes by content; some kinds point to other files
            raise ValueError(f"inside it is {told['driver']}")
        meta, _, geometry, _ = pyogrio.raw.read(file, layer=name, columns=[], force_2d=True)
        if len(geometry) < told["features"] and file.suffix != ".shp":  # whose number counts deleted ones, too
            raise ValueError(f"only {len(geometry)} of {told['features']} shapes are there")
        yield list(shapely.from_wkb(geometry)), _known(meta["crs"])


def _known(crs: str | None) -> str | None:
    """GDAL's "Undefined Cartesian SRS" and the like, which a GeoPackage must name, say nothing."""
    return None if crs is None or '"undefined' in crs.lower() else crs


def _is_area(shape) -> bool:
    return shape is not None and shape.geom_type in ("Polygon", "MultiPolygon", "GeometryCollection")


def _demand_whole(file: Path, where: Path) -> None:
    """The header of a shapefile (ESRI Shapefile Technical Description, 1998, page 4): code 9994, length in words."""
    with open(file, "rb") as stream:
        head = stream.read(100)
    if len(head) < 100 or int.from_bytes(head[:4], "big") != 9994:
        raise InputError("this is no shapefile", where=where, mend="Name the .shp, or a zip with .shp and .prj")
    said, size = 2 * int.from_bytes(head[24:28], "big"), file.stat().st_size
    if size < said:
        raise InputError(f"the file ends after {size} of {said} bytes", where=where, mend="Copy the file again")


@contextmanager
def _index_written_anew() -> Iterator[None]:
    """The setting is the whole process's, so it is put back, and one thread at a time has it."""
    import pyogrio

    name = "SHAPE_RESTORE_SHX"
    with _ONE_AT_A_TIME:
        before = pyogrio.get_gdal_config_option(name)
        pyogrio.set_gdal_config_options({name: "YES"})
        try:
            yield
        finally:
            pyogrio.set_gdal_config_options({name: before})
