"""Manifests: the one that ships is whole, and a faulty one is refused by name and line."""

from __future__ import annotations

import pytest

from rsnb.data import manifest
from rsnb.errors import InputError

GOOD = """name: city
title: t
access: built
licence: Apache-2.0
citation: c
used_by: ["02"]
tree: {"a": b}
"""


@pytest.mark.parametrize("name", manifest.manifest_names())
def test_each_shipped_manifest_is_whole(name):
    found = manifest.read_manifest(name)
    assert found.name == name and found.licence and found.citation and found.tree
    assert (found.access == "built") == bool(found.command)


@pytest.mark.parametrize(("old", "new", "words"), [
    ("access: built", "access: bought", "line 3: access is 'bought'"),
    ("licence:", "license:", "line 4: unknown key 'license'"),
    ("title: t\n", "", "missing: title"),
    ('used_by: ["02"]', "used_by: 2", "line 6: 'used_by' must be a list"),
    ("name: city", "name: [", "not a YAML file"),
])
def test_a_faulty_manifest_is_refused(tmp_path, monkeypatch, old, new, words):
    (tmp_path / "city.yaml").write_text(GOOD.replace(old, new))
    monkeypatch.setattr(manifest, "manifests_folder", lambda: tmp_path)
    with pytest.raises(InputError) as caught:
        manifest.read_manifest("city")
    assert words in str(caught.value) and "city.yaml" in str(caught.value)


def test_an_unknown_manifest_names_the_known():
    with pytest.raises(InputError, match="Choose among: .*city"):
        manifest.read_manifest("citty")
