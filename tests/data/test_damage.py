"""Files damaged at random: each reader gives a mesh or an InputError that names the file, never anything else."""

from __future__ import annotations

import base64
import json
import random
import re
import struct

import pytest
from PIL import Image

from rsnb.data import HELSINKI, read_mesh, read_panos, read_picks
from rsnb.errors import InputError

OBJ = (b"mtllib a.mtl\no a\nv 0 0 0\nv 1 0 0\nv 1 1 0 1 1 1\nvt 0 0\nvt 1 1\n"
       b"g roof\nusemtl m\nf 1/1 2/2 -1/-1\nf 1//1 2 3\n")
PLY = (b"ply\nformat %s 1.0\ncomment TextureFile a.png\nelement vertex 3\nproperty float x\nproperty float y\n"
       b"property float z\nelement face 1\nproperty list uchar int vertex_indices\nproperty list uchar float texcoord\n"
       b"property int label\nend_header\n")
BINARY = struct.pack("<9fB3iB6fi", *range(9), 3, 0, 1, 2, 6, *range(6), 4)
CITYJSON = json.dumps({
    "type": "CityJSON", "version": "2.0", "transform": {"scale": [1, 1, 1], "translate": [0, 0, 0]},
    "vertices": [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]],
    "appearance": {"textures": [{"image": "a.png"}], "vertices-texture": [[0, 0]], "materials": [{"name": "m"}]},
    "CityObjects": {"a": {"type": "Building", "children": ["b"]}, "b": {"type": "BuildingPart", "parents": ["a"],
        "geometry": [{"type": "MultiSurface", "lod": "2", "boundaries": [[[0, 1, 2, 3]]],
                      "semantics": {"surfaces": [{"type": "WallSurface"}], "values": [0]},
                      "texture": {"t": {"values": [[[0, 0, 0, 0, 0]]]}}, "material": {"m": {"values": [0]}}}]}},
}).encode()
CITYGML = b"""<core:CityModel xmlns:core="http://www.opengis.net/citygml/2.0" xmlns:gml="http://www.opengis.net/gml"
 xmlns:b="http://www.opengis.net/citygml/building/2.0" xmlns:app="http://www.opengis.net/citygml/appearance/2.0">
<core:cityObjectMember><b:Building gml:id="a"><b:boundedBy><b:RoofSurface><b:lod2MultiSurface><gml:MultiSurface>
<gml:surfaceMember><gml:Polygon gml:id="p" srsName="EPSG:25832"><gml:exterior><gml:LinearRing gml:id="r">
<gml:posList>0 0 0 1 0 0 1 1 0 0 1 0 0 0 0</gml:posList></gml:LinearRing></gml:exterior></gml:Polygon>
</gml:surfaceMember></gml:MultiSurface></b:lod2MultiSurface></b:RoofSurface></b:boundedBy></b:Building>
</core:cityObjectMember><app:ParameterizedTexture><app:imageURI>a.png</app:imageURI><app:target uri="#p">
<app:TexCoordList><app:textureCoordinates ring="#r">0 0 1 0 1 1 0 1 0 0</app:textureCoordinates></app:TexCoordList>
</app:target></app:ParameterizedTexture><app:X3DMaterial><app:diffuseColor>1 0 0</app:diffuseColor>
<app:target>#p</app:target></app:X3DMaterial></core:CityModel>"""
BUFFER = base64.b64encode(struct.pack("<9f3H", 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 2)).decode()
GLTF = json.dumps({
    "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0, "scale": [1, 2, 3]}],
    "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "indices": 1, "material": 0}]}],
    "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [1, 0, 0, 1]}}],
    "buffers": [{"uri": "data:application/octet-stream;base64," + BUFFER, "byteLength": 42}],
    "bufferViews": [{"buffer": 0, "byteLength": 36}, {"buffer": 0, "byteOffset": 36, "byteLength": 6}],
    "accessors": [{"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3"},
                  {"bufferView": 1, "componentType": 5123, "count": 3, "type": "SCALAR"}]}).encode()
PICKS = json.dumps({"schema": "rsnb.picks", "version": 1, "camera": {"fov_deg": 90}, "prior": None,
                    "pairs": [{"image": [1, 2], "world": [3, 4, 5], "depth_m": 6}] * 4}).encode()
CASES = {
    "a.obj": OBJ, "a.ply": PLY % b"ascii" + b"0 0 0\n1 0 0\n0 1 0\n3 0 1 2 6 0 0 1 0 0 1 3\n",
    "b.ply": PLY % b"binary_little_endian" + BINARY, "a.city.json": CITYJSON, "a.gml": CITYGML, "a.gltf": GLTF,
    "picks.json": PICKS, "picks.csv": b"id,u,v,x,y,z\n" + b"".join(b"%d,1,2,3,4,5\n" % i for i in range(4)),
    "panos.txt": b"Pano_ID,Lat,Lon,Y,X\na,60.1644797333783,24.92898345052589,4400.232,6056.964\n",
}
TOKENS = (b"-1", b"nan", b"9999999999", b"", b"null", b"[]", b"{}", b"1e999", b"x", b"\n", b"\x00", b"\xff", b"99",
          b"99999999999999999999", b"1" + b"0" * 400, b'"a"', b"[5]", b'{"a": 5}', b"true", b"a" * 300)
HEADER = (b"float", b"double", b"uchar", b"int", b"list uchar int", b"list uchar float", b"x", b"red", b"label",
          b"vertex_indices", b"texcoord", b"texnumber", b"2000000000")
WORD = re.compile(rb"-?\d+(\.\d+)?|null|\"\w+\"|\[[^][]*\]|\{[^{}]*\}")
HEADER_WORD = re.compile(rb"(?<=property )list \w+ \w+|(?<=property )\w+|\w+(?=\n)|(?<=vertex )\d+|(?<=face )\d+")


VALUES = (None, True, -1, 7, 0.5, 10**20, 10**400, float("nan"), "a", "", [], {}, [5], [[0]], {"a": 5}, ["a", None])


def swapped(data: bytes, rng: random.Random) -> bytes:
    """A JSON document with one value, at any depth, replaced: a syntax error would end the reading at once."""
    document, places = json.loads(data), []

    def walk(node):
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            walk(node[key])

    walk(document)
    node, key = rng.choice(places)
    node[key] = rng.choice(VALUES)
    return json.dumps(document).encode()


def damaged(data: bytes, rng: random.Random) -> bytes:
    if data.startswith(b"{") and rng.random() < 0.6:
        return swapped(data, rng)
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at, way = rng.randrange(len(data)), rng.random()
        if way < 0.25:
            data[at] = rng.randrange(256)
        elif way < 0.4:
            del data[at : at + rng.randint(1, 40)]
        elif way < 0.5:
            del data[at + 1 :]
        else:
            head = data.startswith(b"ply") and way < 0.75
            end = data.find(b"end_header") if head else len(data)
            token = rng.choice([*(HEADER_WORD if head else WORD).finditer(bytes(data), 0, max(end, 0))] or [None])
            if token:
                data[token.start() : token.end()] = rng.choice(HEADER if head else TOKENS)
        data = data or bytearray(b" ")
    return bytes(data)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CASES)
def test_damaged_files(tmp_path, name):
    read = {"picks": read_picks, "panos": lambda p: read_panos(p, HELSINKI)}.get(name.split(".")[0], read_mesh)
    path, rng, refused = tmp_path / name, random.Random(7), 0
    path.write_bytes(CASES[name])
    read(path)  # whole, it can be read
    for _ in range(200):
        path.write_bytes(damaged(CASES[name], rng))
        try:
            read(path)
        except InputError as error:
            assert str(tmp_path) in str(error) and "\n" not in str(error)
            refused += 1
    assert refused > 10


def changed(name: str, *pairs: tuple[bytes, bytes]) -> bytes:
    data = CASES[name]
    for old, new in pairs:
        assert old in data
        data = data.replace(old, new)
    return data


FACES = b"property list uchar int vertex_indices"
NAMED = {
    "texture name of 300 letters.ply": (changed("a.ply", (b"TextureFile a.png", b"TextureFile " + b"a" * 300)), None),
    "texture as data URI.city.json": (changed("a.city.json", (b"a.png", b"data:image/png;base64," + b"A" * 999)), None),
    "library name of 300 letters.obj": (changed("a.obj", (b"a.mtl", b"a" * 300)), None),
    "index beyond int64.obj": (changed("a.obj", (b"f 1/1 2/2 -1/-1", b"f 1/1 2/2 99999999999999999999/1")), "line 10"),
    "all indices plain, one beyond.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\nf 1 2 99999999999999999999\n",
                                          "line 5"),
    "corners no list.ply": (changed("a.ply", (FACES, b"property int vertex_indices")), "no faces"),
    "x a list.ply": (changed("a.ply", (b"property float x", b"property list uchar float x")), ""),
    "texcoord no list.ply": (changed("a.ply", (b"list uchar float texcoord", b"float texcoord"),
                                     (b"3 0 1 2 6 0 0 1 0 0 1 3", b"3 0 1 2 6 3")), None),
    "red a list.ply": (changed("a.ply", (b"int label", b"list uchar int red\nproperty int green\nproperty int blue"),
                               (b"0 0 1 3", b"0 0 1 2 255 9 0 0"), (b"TextureFile a.png", b"no picture")), None),
    "list of 2^30 items.ply": (changed("b.ply", (b"list uchar int", b"list int int"), (BINARY[36:37], b"\0\0\0\x40"),
                                       (b"property list uchar float texcoord\nproperty int label\n", b"")),
                               "promises"),
    "image that is a number.gltf": (changed("a.gltf", (b'"scene": 0', b'"images": [{"uri": 5}]')), "no glTF"),
    "required that is a number.gltf": (changed("a.gltf", (b'"scene": 0', b'"extensionsRequired": 5')), "no glTF"),
    "line that is a number.city.json": (CITYJSON + b"\n5\n", "`5` among its lines"),
    "first line a list.city.json": (b"[1]\n" + CITYJSON, "CityJSON"),
    "nested deep.city.json": (b'{"CityObjects":' * 100_000, "cannot be read"),
    "texture coordinates empty.gml": (changed("a.gml", (b"0 0 1 0 1 1 0 1 0 0<", b"<")), None),
    "not on Earth.gml": (changed("a.gml", (b"EPSG:25832", b"EPSG:4326"), (b"1 0 0 1 1 0", b"1 0 0 1 -5e5 0")),
                         "not on Earth"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMED)
def test_named_damage(tmp_path, name):
    """Each is foreseen: a mesh, or an InputError of the reader's own (not of the net below it)."""
    path, (data, word) = tmp_path / name, NAMED[name]
    path.write_bytes(data)
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
    if word is None:
        assert len(read_mesh(path).faces)
        return
    with pytest.raises(InputError) as caught:
        read_mesh(path)
    assert word in str(caught.value) and str(path) in str(caught.value) and caught.value.__cause__ is None


def test_damage_that_no_reader_foresees(tmp_path, monkeypatch):
    (tmp_path / "a.obj").write_bytes(OBJ)
    monkeypatch.setattr("rsnb.data.meshes.obj._triangles", lambda *_: {}["corner"])
    with pytest.raises(InputError, match=r"a\.obj: this file cannot be read \(KeyError: 'corner'\)"):
        read_mesh(tmp_path / "a.obj")
