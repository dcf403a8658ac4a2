"""Manifests: those that ship are whole and say why each gap is one; a faulty one is refused by file, line and key."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest
import yaml

from rsnb.data import manifest
from rsnb.data.audit import AUDITS
from rsnb.data.manifest_schema import FILE, TOP
from rsnb.errors import InputError

NAMES = manifest.manifest_names()
SHA = "0123456789abcdef" * 4

GOOD = f"""name: place
title: t
kind: dataset
access: open
homepage: https://example.org/
licence: {{name: CC-BY-4.0, url: "https://example.org/licence"}}
citation: c
sensor: s
gsd_m: [1.5, 10]
used_by: ["01"]
tree: {{"a/*.png": pictures}}
counts: {{scenes: 3}}
files:
  - path: a.zip
    urls: ["https://example.org/a.zip", "http://mirror.example.org/a.zip"]
    bytes: 12
    sha256: {SHA}
    unpack: .
  - path: b/c.tif
    urls: ["https://example.org/c.tif"]
    bytes: null
    sha256: null
    md5: {SHA[:32]}
    optional: true
unknown:
  files.b/c.tif.bytes: {{why: w, asked_where: a}}
  files.b/c.tif.sha256: {{why: w, asked_where: a}}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes place.yaml, and makes its folder that of the manifests."""

    def put(text: str):
        (tmp_path / "place.yaml").write_text(text, encoding="utf-8")
        monkeypatch.setattr(manifest, "manifests_folder", lambda: tmp_path)

    return put


@pytest.mark.parametrize("name", NAMES)
def test_each_shipped_manifest_is_whole(name):
    found = manifest.read_manifest(name)
    assert found.name == name and found.citation
    assert found.licence.url or found.licence.text
    assert (found.access == "built") == bool(found.command)
    for file in found.files:
        # torchvision's names end in the first digits of the file's sha256: two statements of one fact
        prefix = re.search(r"-([0-9a-f]{8})\.pth$", file.path)
        assert prefix is None or file.sha256.startswith(prefix[1])
        assert file.bytes is None or file.bytes_about is None


@pytest.mark.parametrize("name", NAMES)
def test_each_null_says_why_and_where_one_asked(name):
    """Nulls as a plain walk over the file finds them, against those that the manifest excuses."""
    path = manifest.manifests_folder() / f"{name}.yaml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    nulls = {key for key, value in values.items() if value is None}
    nulls |= {f"{key}.{k}" for key in ("licence", "counts") for k, v in values.get(key, {}).items() if v is None}
    nulls |= {f"files.{f['path']}.{k}" for f in values.get("files", []) for k, v in f.items() if v is None}
    unknown = manifest.read_manifest(name).unknown
    assert set(unknown) == nulls
    assert all(len(entry["why"]) > 20 and len(entry["asked_where"]) > 10 for entry in unknown.values())


def test_the_suite_is_covered():
    assert set(NAMES) >= {
        "city", "levir_nvs", "whu_mvs", "cvact", "cvact_aligned", "cvusa", "sky_masks", "helsinki_3d", "worldstrat",
        "earth_search", "copernicus_data_space", "planetary_computer", "copernicus_dem", "vigor", "immpi_weights",
        "sat2density_weights", "liif_weights", "oricnn_weights", "lpips_trunks", "resnet18_imagenet",
        "resnet50_imagenet",
    }
    # who sees a hole in metres a pixel: masks have none, everything else says a number or why not
    no_gsd = [n for n in NAMES if manifest.read_manifest(n).kind == "dataset"
              and manifest.read_manifest(n).gsd_m is None and "gsd_m" not in manifest.read_manifest(n).unknown]
    assert no_gsd == ["sky_masks"]


@pytest.mark.parametrize(("name", "words"), [
    ("levir_nvs", {"scenes": 16, "views": 16 * 21, "track poses": 16 * 100}),
    ("whu_mvs", {"scenes": 88, "views": 88 * 20}),
    ("cvusa", {"train pairs": 35532, "val pairs": 8884}), ("worldstrat", {"places": 3928}),
    ("cvact", {"train pairs": 35532, "val pairs": 8884, "test pairs": 92802}),
])
def test_counts_are_in_the_words_of_the_audits(name, words):
    found = manifest.read_manifest(name)
    assert dict(found.counts) == words == found.known_counts
    assert name in AUDITS


def test_each_published_count_has_an_audit_that_counts():
    """A manifest whose numbers nobody compares is decoration."""
    assert {n for n in NAMES if manifest.read_manifest(n).counts} - set(AUDITS) == {"vigor"}  # no reader asked for


def test_each_weight_file_loads_or_says_why_not():
    weights = [m for m in map(manifest.read_manifest, NAMES) if m.kind == "weights"]
    assert {m.name for m in weights if "why_not" in m.loads_into} == {"sat2density_weights"}
    for found in weights:
        if "converter" in found.loads_into:
            module, function = found.loads_into["converter"].split(":")
            convert = getattr(importlib.import_module(module), function)
            assert len(inspect.signature(convert).parameters) == 1 and convert.__doc__


def test_catalogues_say_where_and_what_they_want():
    catalogues = [m for m in map(manifest.read_manifest, NAMES) if m.kind == "catalogue"]
    assert len(catalogues) == 3
    for found in catalogues:
        assert found.endpoints["search"].startswith("https://") and "Searching needs nothing" in found.ask
        assert not found.files


def test_what_a_manifest_becomes(write):
    write(GOOD)
    found = manifest.read_manifest("place")
    first, second = found.files
    assert first == manifest.ManifestFile("a.zip", ("https://example.org/a.zip", "http://mirror.example.org/a.zip"), 12,
                                          sha256=SHA, unpack=".")
    assert second.bytes is None and second.md5 == SHA[:32] and second.optional
    assert found.gsd_m == (1.5, 10) and found.licence.name == "CC-BY-4.0" and found.counts == {"scenes": 3}
    assert found.unknown["files.b/c.tif.bytes"] == {"why": "w", "asked_where": "a"}


@pytest.mark.parametrize("keys", [["files[1].bytes", "files[1].sha256"], ["files[*].bytes", "files[*].sha256"]])
def test_a_file_may_be_named_by_its_position(write, keys):
    text = GOOD
    for key in keys:
        text = text.replace(f"files.b/c.tif.{key.split('.')[1]}", f'"{key}"')
    write(text)
    assert sorted(manifest.read_manifest("place").unknown) == ["files.b/c.tif.bytes", "files.b/c.tif.sha256"]


@pytest.mark.parametrize(("old", "new", "words"), [
    ("access: open", "access: bought", "line 4: access is 'bought'"),
    ("kind: dataset", "kind: data", "line 3: kind is 'data'"),
    ("licence:", "license:", "line 6: unknown key 'license'"),
    ("url: \"https://example.org/licence\"", "link: x", "line 6: unknown key 'licence.link'"),
    (', url: "https://example.org/licence"', "", "line 6: the licence has neither url nor text"),
    ("title: t\n", "", "missing: title"),
    ("title: t\n", "title: t\ntitle: u\n", "line 3: key 'title' stands twice, first in line 2"),
    ("title: t", "title: 7", "line 2: 'title' must be text, not 7. Put it in quotes"),
    ("title: t", "title: null", "line 2: 'title' must not be null"),
    ("name: place", "name: Place", "line 1: name is 'Place'"),
    ("name: place", "name: palace", "line 1: name is 'palace', the file is called place"),
    ('used_by: ["01"]', "used_by: 2", "line 10: 'used_by' must be a list"),
    ('used_by: ["01"]', "used_by: [1]", "line 10: used_by holds 1"),
    ("gsd_m: [1.5, 10]", "gsd_m: [1.5, -10]", "line 9: gsd_m holds -10"),
    ("gsd_m: [1.5, 10]", "gsd_m: true", "line 9: 'gsd_m' must be a whole number or a number or a list, not True"),
    ("scenes: 3", "scenes: many", "line 12: 'counts.scenes' must be a number, not 'many'"),
    ("scenes: 3", "scenes: null", "line 12: 'counts.scenes' is null, but `unknown` does not say why"),
    ("homepage: https://example.org/\n", "", "missing: homepage"),
    ("homepage: https://example.org/", "homepage: example.org", "line 5: 'homepage' is 'example.org'"),
    ("homepage: https://example.org/", "homepage: null", "line 5: 'homepage' is null, but `unknown`"),
    ("path: a.zip", "path: ../a.zip", "line 14: 'files.../a.zip.path' is '../a.zip'. Write a relative path"),
    ("path: a.zip", "path: /etc/a.zip", "line 14: 'files./etc/a.zip.path' is '/etc/a.zip'"),
    ("path: a.zip", "path: 'C:\\a.zip'", "Write a relative path with /"),
    ("path: a.zip", "path: B/C.tif", "line 19: 'b/c.tif' stands twice among the files"),
    ("unpack: .", "unpack: ../x", "line 18: 'files.a.zip.unpack' is '../x'"),
    ("bytes: 12", "bytes: 12.5", "line 16: 'files.a.zip.bytes' must be a whole number, not 12.5"),
    ("bytes: 12", "bytes: -1", "line 16: bytes of a.zip is -1"),
    ("bytes: 12\n", "size: 12\n", "line 16: unknown key 'files.a.zip.size'"),
    ("    bytes: 12\n", "", "line 14: missing in files.a.zip: bytes"),
    (f"sha256: {SHA}", "sha256: ABC", "line 17: sha256 of a.zip is 'ABC'. Write 64 digits"),
    (f"sha256: {SHA}", "sha256: null", "line 17: 'files.a.zip.sha256' is null, but `unknown` does not say why"),
    (f"md5: {SHA[:32]}", "md5: 12ab", "line 23: md5 of b/c.tif is '12ab'. Write 32 digits"),
    ('["https://example.org/c.tif"]', '["ftp://example.org/c.tif"]', "line 20: 'files.b/c.tif.urls.0' is 'ftp:"),
    ('    urls: ["https://example.org/c.tif"]\n', "", "line 19: access is open, but b/c.tif has no urls"),
    ("  - path: a.zip\n", "  - a.zip\n  - path: a.zip\n", "line 14: file 0 must be a mapping with a path"),
    ("    bytes: null\n", "    bytes: 5\n", "line 26: unknown 'files.b/c.tif.bytes' excuses nothing"),
    ("c.tif.bytes: {why: w, asked_where: a}", "c.tif.bytes: {why: w}",
     "line 26: missing in unknown.files.b/c.tif.bytes: asked_where"),
    ("c.tif.bytes: {why: w, asked_where: a}", "c.tif.bytes: w", "line 26: unknown 'files.b/c.tif.bytes' must hold why"),
    ("c.tif.bytes: {why: w, asked_where: a}", 'c.tif.bytes: {why: "", asked_where: a}', "bytes.why' is empty"),
    ("access: open", "access: mail", "line 4: access is mail, but `ask` does not say how"),
    ("access: open", "access: built", "line 4: a command belongs to access: built"),
    ("access: open", "access: open\ncommand: x", "line 4: a command belongs to access: built"),
    ("kind: dataset", "kind: weights", "missing: loads_into"),
    ("kind: dataset", "kind: weights\nloads_into: {}", "line 4: loads_into holds one of"),
    ("kind: dataset", "kind: weights\nloads_into: {converter: here}", "line 4: converter is 'here'"),
    ("kind: dataset", "kind: catalogue", "missing: endpoints"),
    ("kind: dataset", "kind: catalogue\nendpoints: {search: here}", "line 4: 'endpoints.search' is 'here'"),
    ("name: place", "name: [", "this is not YAML"),
    ("name: place", "- place", "this is not YAML"),
    (GOOD, "just text", "line 1: this is not a YAML file of lines"),
    (GOOD, "", "line 1: this is not a YAML file of lines"),
])
def test_a_faulty_manifest_is_refused(write, old, new, words):
    assert old in GOOD
    write(GOOD.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        manifest.read_manifest("place")
    assert words in str(caught.value) and "place.yaml" in str(caught.value)


def test_another_encoding_is_named_with_its_line(write, tmp_path):
    write("")
    (tmp_path / "place.yaml").write_bytes(GOOD.replace("title: t", "title: Zürich").encode("latin-1"))
    with pytest.raises(InputError, match=r"place.yaml, line 2: this is not UTF-8 text. Save"):
        manifest.read_manifest("place")


def test_access_by_drive_wants_an_id_or_an_address(write):
    text = GOOD.replace("access: open", "access: drive\nask: me")
    text = text.replace('    urls: ["https://example.org/c.tif"]\n', "")
    write(text)
    with pytest.raises(InputError, match=r"line 20: access is drive, but b/c.tif has neither drive_id nor urls"):
        manifest.read_manifest("place")
    write(text.replace("path: b/c.tif", "path: b/c.tif\n    drive_id: 1wBHSrgPLOHL"))
    assert manifest.read_manifest("place").files[1].drive_id == "1wBHSrgPLOHL"


def test_what_this_package_builds_needs_no_homepage_and_no_file(write):
    text = GOOD[:GOOD.index("files:")].replace("homepage: https://example.org/\n", "")
    write(text.replace("access: open", "access: built\ncommand: rsnb x"))
    assert manifest.read_manifest("place").command == "rsnb x"


def places(value, path=()):
    """Paths of all values in a tree of mappings and lists."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def test_any_value_of_the_wrong_type_is_an_input_error():
    """Each value of a good manifest in turn becomes each odd one: it is taken or refused, and nothing else happens."""
    odd = [None, 7, -1.5, float("nan"), True, "", "x", "\x00", [], {}, [None], [[1]], {"a": None}, {7: 7}]
    refused = 0
    for path in list(places(yaml.safe_load(GOOD)))[1:]:
        for value in odd:
            values = yaml.safe_load(GOOD)
            inside = values
            for key in path[:-1]:
                inside = inside[key]
            inside[path[-1]] = value
            try:
                manifest.parse_manifest(values, "here")
            except InputError as error:
                refused += 1
                assert str(error).startswith("here")
    assert refused > 500


def test_a_manifest_from_plain_values():
    """Tests and notebook 01 build manifests for servers of their own; there is no line to name then."""
    values = yaml.safe_load(GOOD)
    assert len(manifest.parse_manifest(values, "loopback").files) == 2
    values["files"][0]["bytes"] = "many"
    with pytest.raises(InputError, match=r"^loopback: 'files.a.zip.bytes' must be a whole number, not 'many'"):
        manifest.parse_manifest(values, "loopback")


def test_an_unknown_manifest_names_the_known():
    with pytest.raises(InputError, match="Choose among: .*city"):
        manifest.read_manifest("citty")


def test_the_readme_describes_every_key():
    told = (manifest.manifests_folder() / "README.md").read_text(encoding="utf-8")
    assert not [key for key in (*TOP, *FILE) if f"| `{key}` |" not in told]
