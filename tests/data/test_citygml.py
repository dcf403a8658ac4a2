"""CityGML: small models typed by hand in three versions, the real buildings against lxml, and what can be wrong."""

from __future__ import annotations

import numpy as np
import pytest

from rsnb.data import MeshWarning, ReadOptions, read_citygml
from rsnb.errors import InputError
from rsnb.scenes import Georeference

E, N = 678_000.0, 5_403_600.0  # Ingolstadt, EPSG:32632


def ring(points, ring_id="", closed=True):
    points = [*points, points[0]] if closed else points
    text = " ".join(f"{E + x} {N + y} {z}" for x, y, z in points)
    name = f' gml:id="{ring_id}"' if ring_id else ""
    return f"<gml:LinearRing{name}><gml:posList>{text}</gml:posList></gml:LinearRing>"


def polygon(name, outer, *holes):
    inside = "".join(f"<gml:interior>{ring(h)}</gml:interior>" for h in holes)
    return (f'<gml:Polygon gml:id="{name}"><gml:exterior>{ring(outer, name + "_r")}</gml:exterior>{inside}'
            "</gml:Polygon>")


def surface(kind, lod, body):
    return (f'<bldg:boundedBy><bldg:{kind}><bldg:lod{lod}MultiSurface><gml:MultiSurface gml:id="{kind}_ms">'
            f"<gml:surfaceMember>{body}</gml:surfaceMember></gml:MultiSurface></bldg:lod{lod}MultiSurface>"
            "%s</bldg:" + kind + "></bldg:boundedBy>")


FLOOR = [(0, 0, 0), (0, 3, 0), (4, 3, 0), (4, 0, 0)]
SOUTH = [(0, 0, 0), (4, 0, 0), (4, 0, 2), (0, 0, 2)]
HOLE = [(1, 0, 0.5), (1, 0, 1.5), (2, 0, 1.5), (2, 0, 0.5)]
ROOF = [(0, 0, 2), (4, 0, 2), (4, 3, 2), (0, 3, 2)]
WINDOW = [(1, 0, 0.5), (2, 0, 0.5), (2, 0, 1.5), (1, 0, 1.5)]

APPEARANCE = """
<app:appearanceMember><app:Appearance><app:theme>rgb</app:theme>
 <app:surfaceDataMember><app:ParameterizedTexture><app:imageURI>textures\\four.png</app:imageURI>
  <app:target uri="#south"><app:TexCoordList><app:textureCoordinates ring="#south_r">
   0 0 1 0 1 1 0 1 0 0</app:textureCoordinates></app:TexCoordList></app:target></app:ParameterizedTexture>
 </app:surfaceDataMember>
 <app:surfaceDataMember><app:ParameterizedTexture><app:imageURI>gone.jpg</app:imageURI>
  <app:target uri="#window"><app:TexCoordList><app:textureCoordinates ring="#window_r">
   0 0 1 0 1 1 0 1 0 0</app:textureCoordinates></app:TexCoordList></app:target></app:ParameterizedTexture>
 </app:surfaceDataMember>
 <app:surfaceDataMember><app:X3DMaterial><app:isFront>false</app:isFront><app:diffuseColor>0 1 0</app:diffuseColor>
  <app:target>#window</app:target></app:X3DMaterial></app:surfaceDataMember>
 <app:surfaceDataMember><app:X3DMaterial><app:diffuseColor>0.25 0.5 0.75</app:diffuseColor>
  <app:target>#window</app:target><app:target>#RoofSurface_ms</app:target></app:X3DMaterial></app:surfaceDataMember>
</app:Appearance></app:appearanceMember>
"""


def model(version="2.0", members=None, appearance=APPEARANCE):
    opening = ('<bldg:opening><bldg:Window><bldg:lod3MultiSurface><gml:MultiSurface><gml:surfaceMember>'
               + polygon("window", WINDOW) +
               "</gml:surfaceMember></gml:MultiSurface></bldg:lod3MultiSurface></bldg:Window></bldg:opening>")
    house = (
        '<core:cityObjectMember><bldg:Building gml:id="house">'
        "<bldg:lod1Solid><gml:Solid><gml:exterior><gml:CompositeSurface><gml:surfaceMember>"
        + polygon("box", ROOF) +
        "</gml:surfaceMember></gml:CompositeSurface></gml:exterior></gml:Solid></bldg:lod1Solid>"
        "<bldg:lod3Solid><gml:Solid><gml:exterior><gml:CompositeSurface>"
        '<gml:surfaceMember xlink:href="#south"/><gml:surfaceMember>' + polygon("roof", ROOF) +
        "</gml:surfaceMember></gml:CompositeSurface></gml:exterior></gml:Solid></bldg:lod3Solid>"
        + surface("GroundSurface", 3, polygon("floor", FLOOR)) % ""
        + surface("WallSurface", 3, polygon("south", SOUTH, HOLE)) % opening
        # the roof's polygon is defined in the solid; the roof surface names it
        + surface("RoofSurface", 3, "").replace("<gml:surfaceMember></gml:surfaceMember>",
                                                '<gml:surfaceMember xlink:href="#roof"/>') % ""
        + "</bldg:Building></core:cityObjectMember>"
    )
    gml = "http://www.opengis.net/gml/3.2" if version == "3.0" else "http://www.opengis.net/gml"
    core = f"http://www.opengis.net/citygml/{version}"
    return (f'<core:CityModel xmlns:core="{core}" xmlns:bldg="http://www.opengis.net/citygml/building/{version}" '
            f'xmlns:app="http://www.opengis.net/citygml/appearance/{version}" xmlns:gml="{gml}" '
            f'xmlns:veg="http://www.opengis.net/citygml/vegetation/{version}" '
            'xmlns:xlink="http://www.w3.org/1999/xlink">'
            '<gml:boundedBy><gml:Envelope srsName="urn:ogc:def:crs:EPSG::32632" srsDimension="3"/></gml:boundedBy>'
            f"<!-- a remark -->{house if members is None else members}{appearance}</core:CityModel>")


@pytest.fixture(params=["1.0", "2.0", "3.0"])
def mesh(request, tmp_path, four_pixels):
    four_pixels("textures/four.png")
    path = tmp_path / "house.gml"
    path.write_text(model(request.param))
    with pytest.warns(MeshWarning, match=r"1 of 2 textures are missing \(gone\.jpg\)"):
        return read_citygml(path)


def area_of(mesh, keep=slice(None)):
    a, b, c = np.moveaxis(mesh.vertices[mesh.faces[keep]], 1, 0)
    return np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2


def test_each_polygon_once_with_its_class(mesh):
    areas = {c.name: area_of(mesh, mesh.face_class == c.id) for c in mesh.classes if (mesh.face_class == c.id).any()}
    # the wall without its hole is 4 x 2 - 1; the solid's xlinks add nothing; LoD 1 is left out
    assert areas == pytest.approx({"ground": 12, "wall": 7, "roof": 12, "window": 1})
    assert (mesh.face_object == 1).all()


def test_place_and_winding(mesh):
    assert mesh.georeference.crs == "EPSG:32632"
    assert np.allclose((mesh.bounds + mesh.georeference.origin)[0], [E, N, 0])
    for name, normal in (("ground", (0, 0, -1)), ("wall", (0, -1, 0)), ("roof", (0, 0, 1)), ("window", (0, -1, 0))):
        keep = mesh.face_class == {c.name: c.id for c in mesh.classes}[name]
        a, b, c = np.moveaxis(mesh.vertices[mesh.faces[keep]], 1, 0)
        assert (np.cross(b - a, c - a) @ normal > 0).all(), name


def test_looks(mesh):
    kinds = {c.name: c.id for c in mesh.classes}
    look = {name: mesh.materials[mesh.face_material[mesh.face_class == i][0]]
            for name, i in kinds.items() if (mesh.face_class == i).any()}
    assert look["wall"].texture.shape == (2, 2, 3)
    assert look["roof"].rgb == (0.25, 0.5, 0.75), "the material names the MultiSurface"
    assert look["window"].rgb == (0.25, 0.5, 0.75), "its texture is gone, the back's green does not count"
    assert look["ground"].name == "plain ground"
    wall = mesh.face_class == kinds["wall"]
    points = mesh.vertices[mesh.faces[wall]] + mesh.georeference.origin - [E, N, 0]
    outer = np.isin(points[:, :, 2], (0, 2))  # corners of the hole have no texture coordinates in this file
    assert np.allclose(mesh.uv[wall][outer], (points[:, :, [0, 2]] / [4, 2])[outer], atol=1e-6)


def test_level_of_detail(tmp_path):
    path = tmp_path / "house.gml"
    path.write_text(model())
    assert area_of(read_citygml(path, options=ReadOptions(lod="1"))) == pytest.approx(12)
    with pytest.raises(InputError, match=r"nothing at level of detail 2.*The file has 1, 3"):
        read_citygml(path, options=ReadOptions(lod="2"))


def test_theme(tmp_path, four_pixels):
    four_pixels("textures/four.png")
    path = tmp_path / "house.gml"
    path.write_text(model())
    mesh = read_citygml(path, options=ReadOptions(theme="infrared"))
    assert {m.name.split()[0] for m in mesh.materials} == {"plain"}


def test_world_to_texture(tmp_path, four_pixels):
    """TexCoordGen: u = x / 4 - E / 4, v = z / 2."""
    four_pixels("four.png")
    matrix = f"0.25 0 0 {-E / 4} 0 0 0.5 0 0 0 0 1"
    appearance = ("<app:appearanceMember><app:Appearance><app:surfaceDataMember><app:ParameterizedTexture>"
                  "<app:imageURI>four.png</app:imageURI><app:target uri='#south'><app:TexCoordGen><app:worldToTexture>"
                  f"{matrix}</app:worldToTexture></app:TexCoordGen></app:target></app:ParameterizedTexture>"
                  "</app:surfaceDataMember></app:Appearance></app:appearanceMember>")
    path = tmp_path / "house.gml"
    path.write_text(model(appearance=appearance))
    mesh = read_citygml(path)
    keep = mesh.face_class == 1
    points = mesh.vertices[mesh.faces[keep]] + mesh.georeference.origin - [E, N, 0]
    assert np.allclose(mesh.uv[keep], points[:, :, [0, 2]] / [4, 2], atol=1e-6)


def test_citygml_3_texture_association(tmp_path, four_pixels):
    four_pixels("four.png")
    appearance = ("<app:appearanceMember><app:Appearance><app:surfaceData><app:ParameterizedTexture>"
                  "<app:imageURI>four.png</app:imageURI><app:textureParameterization><app:TextureAssociation>"
                  "<app:target>#south</app:target><app:textureParameterization><app:TexCoordList>"
                  "<app:textureCoordinates>0 0 1 0 1 1 0 1 0 0</app:textureCoordinates><app:ring>#south_r</app:ring>"
                  "</app:TexCoordList></app:textureParameterization></app:TextureAssociation>"
                  "</app:textureParameterization></app:ParameterizedTexture></app:surfaceData></app:Appearance>"
                  "</app:appearanceMember>")
    path = tmp_path / "house.gml"
    path.write_text(model("3.0", appearance=appearance))
    assert sum(m.texture is not None for m in read_citygml(path).materials) == 1


def test_implicit_geometry_stands_where_it_is_placed(tmp_path):
    tree = ("<core:cityObjectMember><veg:SolitaryVegetationObject gml:id='t{0}'><veg:lod2ImplicitRepresentation>"
            "<core:ImplicitGeometry><core:transformationMatrix>0 -2 0 0 2 0 0 0 0 0 2 0 0 0 0 1"
            "</core:transformationMatrix>{1}<core:referencePoint><gml:Point><gml:pos>{2} {3} 5</gml:pos></gml:Point>"
            "</core:referencePoint></core:ImplicitGeometry></veg:lod2ImplicitRepresentation>"
            "</veg:SolitaryVegetationObject></core:cityObjectMember>")
    shape = ("<core:relativeGMLGeometry><gml:MultiSurface gml:id='shape'><gml:surfaceMember><gml:Polygon>"
             "<gml:exterior><gml:LinearRing><gml:pos>0 0 0</gml:pos><gml:pos>1 0 0</gml:pos><gml:pos>0 0 1</gml:pos>"
             "<gml:pos>0 0 0</gml:pos></gml:LinearRing></gml:exterior></gml:Polygon></gml:surfaceMember>"
             "</gml:MultiSurface></core:relativeGMLGeometry>")
    link = "<core:relativeGMLGeometry xlink:href='#shape'/>"
    path = tmp_path / "trees.gml"
    path.write_text(model(members=tree.format(1, shape, E, N) + tree.format(2, link, E + 7, N), appearance=""))
    mesh = read_citygml(path)
    world = mesh.vertices[mesh.faces] + mesh.georeference.origin - [E, N, 0]
    # x turns to y and doubles; z doubles; then the reference point
    assert np.allclose(world[0], [[0, 0, 5], [0, 2, 5], [0, 0, 7]]) and np.allclose(world[1] - world[0], [7, 0, 0])
    for east, north in (("nan", N), ("", "")):
        text = model(members=tree.format(1, shape, east, north), appearance="").replace(" 5</gml:pos>", "</gml:pos>")
        path.write_text(text)
        with pytest.raises(InputError, match=r"trees\.gml, line \d+: an implicit geometry is placed by something that"):
            read_citygml(path)
    assert mesh.face_object.tolist() == [1, 2] and mesh.classes[mesh.face_class[0]].name == "vegetation"


def test_gml_coordinates_and_crs_argument(tmp_path):
    text = model().replace('srsName="urn:ogc:def:crs:EPSG::32632"', "")
    points = "<gml:coordinates>0,0,1 1,0,1 0,1,1 0,0,1</gml:coordinates>"
    text = text.replace(ring(ROOF, "box_r"), f"<gml:LinearRing>{points}</gml:LinearRing>")
    path = tmp_path / "house.gml"
    path.write_text(text)
    mesh = read_citygml(path, Georeference("EPSG:25832", (E, N, 0.0)), ReadOptions(lod="1"))
    assert mesh.georeference.crs == "EPSG:25832" and area_of(mesh) == pytest.approx(0.5)
    assert mesh.georeference.origin == (E, N, 0.0)


@pytest.mark.parametrize(("change", "word"), [
    ((str(E + 4), "four", 1), "no number"),
    ((str(E + 4), "", 1), "coordinates"),
    ((str(E + 4), "nan", 1), "finite"),
    (("</core:CityModel>", "", 1), "no XML"),
    (("0.25 0.5 0.75", "0.25 blue 0.75", 1), None),
    (("core:CityModel", "core:Something", 9), None),
    (("cityObjectMember", "nothing", 0), None),
])
def test_bad_files(tmp_path, change, word):
    old, new, count = change
    path = tmp_path / "bad.gml"
    path.write_text(model(members="", appearance="") if count == 0 else
                    "<html/>" if count == 9 else model().replace(old, new, count))
    with pytest.raises(InputError) as caught:
        read_citygml(path)
    assert str(path) in str(caught.value) and caught.value.mend
    if word:
        assert word in caught.value.what and caught.value.line


@pytest.mark.filterwarnings("ignore::rsnb.data.MeshWarning")
def test_entities_are_not_followed(tmp_path):
    (tmp_path / "secret").write_text("12345")
    path = tmp_path / "evil.gml"
    path.write_text(f'<!DOCTYPE x [<!ENTITY e SYSTEM "file://{tmp_path}/secret">]>' + model().replace(
        "textures\\four.png", "&e;"))
    assert "12345" not in str([m.name for m in read_citygml(path).materials])


BUILDINGS = ["4018106", "4018155", "4018205", "4018209", "4018216", "4018258", "4018263", "4018264", "4018265",
             "4018271"]


@pytest.mark.filterwarnings("ignore::rsnb.data.MeshWarning")
@pytest.mark.parametrize("name", BUILDINGS)
def test_ingolstadt(real, name):
    """Area, extent and textures from lxml alone (ear clipping drops corners on straight edges: counts say little)."""
    from lxml import etree

    path = real(f"nb2_city_mesh/ingolstadt_lod3/{name}/{name}.xml")
    root = etree.parse(str(path)).getroot()
    gml = "{http://www.opengis.net/gml}"
    area = 0.0
    for found in root.iter(gml + "Polygon"):
        sizes = []
        for positions in found.iter(gml + "posList"):
            points = np.array(positions.text.split(), dtype=float).reshape(-1, 3)
            points -= points[0]
            sizes.append(np.linalg.norm(np.cross(points[:-1], points[1:]).sum(axis=0)) / 2)
        area += sizes[0] - sum(sizes[1:])
    mesh = read_citygml(path)
    assert area_of(mesh) == pytest.approx(area, rel=1e-4)  # polygons written in mm are flat to mm
    low, high = (np.array(root.find(f".//{gml}{k}Corner").text.split(), dtype=float) for k in ("lower", "upper"))
    assert np.allclose(mesh.bounds + mesh.georeference.origin, [low, high], atol=2e-3)
    assert mesh.georeference.crs == "EPSG:32632"
    classes = {mesh.classes[i].name for i in np.unique(mesh.face_class)}
    assert {"wall", "roof", "window", "ground"} <= classes
    used = {e.text.split("/")[-1] for e in root.iter("{*}imageURI")}
    assert {m.name for m in mesh.materials if m.texture is not None} == used
