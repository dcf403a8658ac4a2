"""Vector files made byte by byte after their specifications; others written by GDAL with areas known by hand."""

from __future__ import annotations

import json
import sqlite3
import struct
import subprocess
import sys
import warnings
import zipfile
from contextlib import closing

import numpy as np
import pyogrio
import pytest
import shapely
from pyproj import CRS

from rsnb.data.raster_tools.vector_layers import VectorWarning
from rsnb.data.raster_tools.vectors import Polygons, polygons_of, read_polygons
from rsnb.errors import InputError

SQUARE = np.array([(0, 0), (0, 10), (10, 10), (10, 0), (0, 0)], float)  # clockwise: an outline
HOLE = np.array([(2, 2), (6, 2), (6, 6), (2, 6), (2, 2)], float)  # the other way: a hole
OTHER = SQUARE + [20, 0]
NULL_SHAPE = struct.pack("<i", 0)


def polygon_record(rings, kind=5):
    points = np.concatenate(rings)
    starts = np.cumsum([0, *map(len, rings)][:-1])
    body = struct.pack("<i", kind) + struct.pack("<4d", *points.min(0), *points.max(0))
    body += struct.pack("<2i", len(rings), len(points)) + starts.astype("<i4").tobytes()
    body += points.astype("<f8").tobytes()
    if kind == 15:  # heights follow: range, then one a point
        body += struct.pack("<2d", 0, 0) + b"\0" * 8 * len(points)
    return body


def shapefile(*records, kind=5):
    """The bytes of a .shp (ESRI description, pages 3 to 8): header of 100 bytes, then number, length, content."""
    body = b"".join(struct.pack(">2i", n, len(r) // 2) + r for n, r in enumerate(records, 1))
    header = struct.pack(">7i", 9994, 0, 0, 0, 0, 0, (100 + len(body)) // 2) + struct.pack("<2i", 1000, kind)
    return header + struct.pack("<8d", 0, 0, 30, 10, 0, 0, 0, 0) + body


BOTH = shapefile(polygon_record([SQUARE, HOLE, OTHER]))


@pytest.mark.parametrize("kind", [5, 15])
def test_shapefile_with_a_hole_and_two_parts(tmp_path, kind):
    (tmp_path / "s.shp").write_bytes(shapefile(polygon_record([SQUARE, HOLE, OTHER], kind), kind=kind))
    (tmp_path / "S.PRJ").write_text(CRS.from_epsg(3879).to_wkt("WKT1_ESRI"))
    got = read_polygons(tmp_path / "s.shp")
    assert sorted(p.area for p in got.shapes) == [84, 100] and sum(len(p.interiors) for p in got.shapes) == 1
    assert CRS.from_user_input(got.crs).to_epsg(min_confidence=20) == 3879 and got.bounds == (0, 0, 30, 10)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["S.PRJ", "s.shp"]  # no .shx was left in the user's folder


def test_shapefile_without_a_prj_needs_to_be_told(tmp_path):
    (tmp_path / "s.shp").write_bytes(BOTH)
    assert read_polygons(tmp_path / "s.shp").crs is None
    with pytest.raises(InputError, match="prj"):
        read_polygons(tmp_path / "s.shp").to_crs("EPSG:4326")
    assert read_polygons(tmp_path / "s.shp", "EPSG:3879").crs == "EPSG:3879"


def test_deleted_shapes_stay_deleted(tmp_path):
    """Only the .dbf knows: a record that begins with * is deleted (dBase III, one field of one character)."""
    (tmp_path / "s.shp").write_bytes(shapefile(polygon_record([SQUARE]), polygon_record([OTHER])))
    field = b"a".ljust(11, b"\0") + b"C" + b"\0" * 4 + b"\1" + b"\0" * 15
    head = struct.pack("<4BIHH20x", 3, 124, 1, 1, 2, 32 + 32 + 1, 2) + field + b"\r"
    (tmp_path / "s.dbf").write_bytes(head + b"*x" + b" y" + b"\x1a")
    assert [p.bounds for p in read_polygons(tmp_path / "s.shp").shapes] == [(20, 0, 30, 10)]


def test_shapes_that_are_lost_are_told(tmp_path):
    (tmp_path / "s.shp").write_bytes(shapefile(polygon_record([SQUARE]), NULL_SHAPE))
    with pytest.warns(VectorWarning, match="1 of 2 shapes"):
        assert len(read_polygons(tmp_path / "s.shp").shapes) == 1
    (tmp_path / "s.shp").write_bytes(shapefile(NULL_SHAPE, NULL_SHAPE))
    with pytest.raises(InputError, match="none of its 2 shapes"):
        read_polygons(tmp_path / "s.shp")


def test_zipped_shapefile(tmp_path):
    with zipfile.ZipFile(tmp_path / "s.ZIP", "w") as file:
        file.writestr("district/l.SHP", shapefile(polygon_record([SQUARE])))
        file.writestr("district/l.prj", CRS.from_epsg(32633).to_wkt("WKT1_ESRI"))
        file.writestr("other/l.prj", "not this one")
        file.writestr("__MACOSX/._l.shp", b"x")
    got = read_polygons(tmp_path / "s.ZIP")
    assert CRS.from_user_input(got.crs).to_epsg(min_confidence=20) == 32633 and got.bounds == (0, 0, 10, 10)


def test_zips_of_other_kinds_and_of_several(tmp_path):
    ring = {"type": "Polygon", "coordinates": [SQUARE.tolist()]}
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as file:
        file.writestr("a/b.geojson", json.dumps(ring))
        file.writestr("about.json", "{}")
    assert read_polygons(tmp_path / "z.zip").crs == "EPSG:4326"
    with zipfile.ZipFile(tmp_path / "z.zip", "a") as file:
        file.writestr("c.shp", BOTH)
    with pytest.raises(InputError, match=r"2 vector files \(a/b.geojson, c.shp\)"):
        read_polygons(tmp_path / "z.zip")
    with zipfile.ZipFile(tmp_path / "h.zip", "w") as file:
        file.writestr("../c.shp", BOTH)
    with pytest.raises(InputError, match="h.zip"):
        read_polygons(tmp_path / "h.zip")
    assert not (tmp_path.parent / "c.shp").exists()


def geopackage(path, tables, envelope=0):
    """{table: (srs_id, rings)} as OGC 12-128r18 asks: three tables that describe, application id GPKG.

    A geometry is (clause 2.1.3) GP, version 0, flags, srs_id, envelope, then WKB."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript("""
            pragma application_id = 1196444487; pragma user_version = 10300;
            create table gpkg_spatial_ref_sys (srs_name text not null, srs_id integer primary key, organization text
                not null, organization_coordsys_id integer not null, definition text not null, description text);
            create table gpkg_contents (table_name text primary key, data_type text not null, identifier text,
                description text, last_change datetime, min_x double, min_y double, max_x double, max_y double,
                srs_id integer);
            create table gpkg_geometry_columns (table_name text primary key, column_name text not null,
                geometry_type_name text not null, srs_id integer not null, z tinyint not null, m tinyint not null);
            insert into gpkg_spatial_ref_sys values ('Undefined', -1, 'NONE', -1, 'undefined', '');
            insert into gpkg_spatial_ref_sys values ('Undefined', 0, 'NONE', 0, 'undefined', '');""")
        for code in {3879, 4326} & {srs for srs, _ in tables.values()}:
            database.execute("insert into gpkg_spatial_ref_sys values ('x', ?, 'EPSG', ?, ?, '')",
                             (code, code, CRS.from_epsg(code).to_wkt("WKT1_GDAL")))
        for name, (srs, rings) in tables.items():
            database.execute("insert into gpkg_contents values (?, 'features', ?, '', '2024-01-01T00:00:00.000Z', "
                             "0, 0, 9, 9, ?)", (name, name, srs))
            database.execute("insert into gpkg_geometry_columns values (?, 'geom', 'POLYGON', ?, 0, 0)", (name, srs))
            database.execute(f'create table "{name}" (fid integer primary key, geom blob)')
            for ring in rings:
                blob = b"GP\0" + bytes([envelope << 1 | 1]) + struct.pack("<i", srs)
                blob += b"\0" * {0: 0, 1: 32, 2: 48}[envelope] + b"\1" + struct.pack("<III", 3, 1, len(SQUARE))
                blob = None if ring is None else blob + ring.astype("<f8").tobytes()
                database.execute(f'insert into "{name}" (geom) values (?)', (blob,))
        database.commit()
    return path


@pytest.mark.parametrize("envelope", [0, 1, 2])
def test_geopackage_with_two_tables(tmp_path, envelope):
    path = geopackage(tmp_path / "p.gpkg", {"my areas": (3879, [SQUARE, None]), "b": (3879, [OTHER])}, envelope)
    with pytest.warns(VectorWarning, match="1 of 3 shapes"):
        got = read_polygons(path)
    assert got.crs == "EPSG:3879" and [p.bounds for p in got.shapes] == [(0, 0, 10, 10), (20, 0, 30, 10)]
    assert [p.name for p in tmp_path.iterdir()] == ["p.gpkg"]


@pytest.mark.parametrize("srs", [0, -1])
def test_geopackage_without_a_coordinate_system(tmp_path, srs):
    path = geopackage(tmp_path / "p.gpkg", {"a": (srs, [SQUARE])})
    assert read_polygons(path).crs is None and read_polygons(path, "EPSG:3879").crs == "EPSG:3879"


def test_geopackage_with_two_coordinate_systems(tmp_path):
    with pytest.raises(InputError, match="2 layers have different coordinate systems"):
        read_polygons(geopackage(tmp_path / "p.gpkg", {"a": (3879, [SQUARE]), "b": (4326, [OTHER])}))


def test_kml_and_kmz(tmp_path):
    """Longitude, latitude, height (OGC 12-007r2); two folders are two layers."""
    def placemark(ring):
        text = " ".join(f"{x},{y},7" for x, y in ring)
        return (f"<Folder><name>f{ring[0, 0]:.0f}</name><Placemark><Polygon><outerBoundaryIs><LinearRing><coordinates>"
                f"{text}</coordinates></LinearRing></outerBoundaryIs></Polygon></Placemark></Folder>")

    text = (f'<?xml version="1.0"?><kml xmlns="http://www.opengis.net/kml/2.2"><Document>{placemark(SQUARE)}'
            f"{placemark(OTHER)}</Document></kml>")
    (tmp_path / "a.kml").write_text(text)
    with zipfile.ZipFile(tmp_path / "a.kmz", "w") as file:
        file.writestr("doc.kml", text)
    for name in ("a.kml", "a.kmz"):
        got = read_polygons(tmp_path / name)
        assert got.crs == "EPSG:4326" and [p.bounds for p in got.shapes] == [(0, 0, 10, 10), (20, 0, 30, 10)]
        assert not any(p.has_z for p in got.shapes)


@pytest.mark.parametrize("name, driver", [("a.fgb", "FlatGeobuf"), ("A.GPKG", "GPKG"), ("odd!name?;.gpkg", "GPKG")])
def test_files_of_gdal(tmp_path, name, driver):
    areas = shapely.to_wkb(np.array([shapely.Polygon(SQUARE, [HOLE]), shapely.Polygon(OTHER)], object))
    made = tmp_path / f"made.{name[-4:].strip('.').lower()}"
    pyogrio.raw.write(str(made), areas, [np.arange(2)], ["n"], geometry_type="Polygon", crs="EPSG:3879",
                      driver=driver)
    made.rename(tmp_path / name)
    got = read_polygons(tmp_path / name)
    assert got.crs == "EPSG:3879" and sorted(p.area for p in got.shapes) == [84, 100] and got.bounds == (0, 0, 30, 10)


def test_what_repair_makes_of_crossing_rings_is_kept():
    """A figure of eight of two triangles of 1, and a spike: repair gives a collection that holds a multipolygon."""
    ring = [(0, 0), (2, 2), (2, 0), (0, 2), (0, 0), (-5, 0), (0, 0)]
    got = polygons_of({"type": "Polygon", "coordinates": [ring]})
    assert sorted(p.area for p in got.shapes) == [1, 1]


def test_a_system_that_is_nowhere_on_the_earth():
    site = 'LOCAL_CS["site",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    with pytest.raises(InputError, match="no way from its coordinate system"):
        Polygons((shapely.box(0, 0, 1, 1),), site, "a.gpkg").to_crs("EPSG:4326")


LINE = struct.pack("<i4d2ii", 3, 0, 0, 1, 1, 1, 2, 0) + struct.pack("<4d", 0, 0, 1, 1)
VRT = (b'<OGRVRTDataSource><OGRVRTLayer name="l"><SrcDataSource relativeToVRT="1">l.gpkg</SrcDataSource></OGRVRTLayer>'
       b"</OGRVRTDataSource>")


@pytest.mark.parametrize("name, content, what", [
    ("a.geojson", b"{", "JSON"), ("a.geojson", b'{"type": "Point", "coordinates": [1, 2]}', "no polygon"),
    ("a.geojson", b'{"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}', "coordinates"),
    ("a.geojson", b"[1]", "type"), ("a.shp", b"PK", "no shapefile"),
    ("a.shp", shapefile(LINE, kind=3), r"no polygon in it \(but LineString\)"),
    ("a.shp", BOTH[:-20], "ends after 384 of 404 bytes"), ("a.zip", b"PK", "zip"), ("a.gpkg", b"no", "no GeoPackage"),
    ("a.kml", b"<kml/>", "no KML"), ("a.kml", VRT, "no KML file that can be read .inside it is OGR_VRT"),
    ("a.fgb", b"fgb", "no FlatGeobuf"), ("a.dxf", b"0", r"\.dxf is not read.*\.geojson"),
])
def test_bad_vector_files_are_named(tmp_path, name, content, what):
    geopackage(tmp_path / "l.gpkg", {"l": (4326, [SQUARE])})
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=what) as caught:
        read_polygons(tmp_path / name)
    assert caught.value.where == tmp_path / name and caught.value.mend
    assert {p.name for p in tmp_path.iterdir()} == {name, "l.gpkg"}


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory):
    """{name: bytes} of two squares in every kind of file."""
    folder = tmp_path_factory.mktemp("whole")
    areas = shapely.to_wkb(np.array([shapely.Polygon(SQUARE, [HOLE]), shapely.Polygon(OTHER)], object))
    for suffix, driver in (("shp", "ESRI Shapefile"), ("gpkg", "GPKG"), ("fgb", "FlatGeobuf"), ("kml", "KML")):
        pyogrio.raw.write(str(folder / f"a.{suffix}"), areas, [np.arange(2)], ["n"], geometry_type="Polygon",
                          crs="EPSG:4326", driver=driver)
    with zipfile.ZipFile(folder / "a.zip", "w") as file:
        file.writestr("l.shp", BOTH)
    (folder / "a.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [SQUARE.tolist()]}))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("seed", range(60))
def test_damaged_vector_files_are_refused_not_crashed_on(tmp_path, whole_files, seed):
    rng = np.random.default_rng(seed)
    for name, data in whole_files.items():
        spoilt = bytearray(data)
        for place in rng.integers(0, len(spoilt), rng.integers(1, 8)):
            spoilt[place] = rng.integers(0, 256)
        stop = rng.integers(1, len(spoilt)) if rng.random() < 0.3 else len(spoilt)
        (tmp_path / name).write_bytes(bytes(spoilt[:stop]))
    for name in ("a.shp", "a.zip", "a.geojson", "a.gpkg", "a.fgb", "a.kml"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", VectorWarning)
                read_polygons(tmp_path / name, "EPSG:4326").to_crs("EPSG:3879")
        except InputError as error:
            assert name in str(error.where)
    assert {p.name for p in tmp_path.iterdir()} == set(whole_files)


def test_a_shapefile_cut_anywhere_is_refused(tmp_path):
    for stop in range(0, len(BOTH), 7):
        (tmp_path / "a.shp").write_bytes(BOTH[:stop])
        with pytest.raises(InputError, match=r"a\.shp"):
            read_polygons(tmp_path / "a.shp", "EPSG:4326")


ONE_PROCESS = """
import sys
import {first}, {second}
import numpy as np
from rasterio.transform import from_origin
from rsnb.data.raster_tools.crop import crop_raster
with rasterio.open("r.tif", "w", driver="GTiff", height=12, width=14, count=1, dtype="uint8", crs="EPSG:32633",
                   transform=from_origin(500000, 5100000, 10, 10)) as file:
    file.write(np.arange(168, dtype="uint8").reshape(1, 12, 14))
for turn in range(2):  # the first library again, after the second has worked
    crop_raster("r.tif", "c.tif", area="a.gpkg")
with rasterio.open("c.tif") as file:
    print(file.crs.to_epsg(), file.read(1).tolist())
"""


@pytest.mark.parametrize("first, second", [("pyogrio", "rasterio"), ("rasterio", "pyogrio")])
def test_two_gdals_in_one_process(tmp_path, first, second):
    """pyogrio and rasterio bring a GDAL and a PROJ each; an area in degrees over pixels (1, 2) to (2, 4) of UTM."""
    from pyproj import Transformer

    corners = [(500021, 5099989), (500049, 5099989), (500049, 5099971), (500021, 5099971), (500021, 5099989)]
    to_degrees = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    ring = np.array([to_degrees.transform(*corner) for corner in corners])
    geopackage(tmp_path / "a.gpkg", {"a": (4326, [ring])})
    done = subprocess.run([sys.executable, "-c", ONE_PROCESS.format(first=first, second=second)], cwd=tmp_path,
                          capture_output=True, text=True)
    # row 1 starts with 14: columns 2 to 4 are 16, 17, 18; row 2 with 28: 30, 31, 32
    assert done.stdout.strip() == "32633 [[16, 17, 18], [30, 31, 32]]", done.stderr
