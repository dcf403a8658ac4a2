"""The audit's own parts; each format's audit is tested with its reader."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from rsnb.data.audit import Audit, Finding, audit_dataset, count_findings, duplicate_findings, picture_fault
from rsnb.errors import InputError


def picture(path, size=(8, 6), value=90):
    rng = np.random.default_rng(value)
    Image.fromarray(rng.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).save(path)
    return path


def test_a_whole_picture_of_the_right_size_has_no_fault(tmp_path):
    assert picture_fault(picture(tmp_path / "a.png"), (8, 6)) is None


def test_a_cut_picture_is_unreadable_although_its_header_opens(tmp_path):
    path = picture(tmp_path / "a.png", (64, 64))
    path.write_bytes(path.read_bytes()[:-300])
    with Image.open(path) as opened:
        assert opened.size == (64, 64)
    kind, text = picture_fault(path)
    assert kind == "unreadable" and "no whole picture" in text


@pytest.mark.parametrize("content", [b"", b"<html>quota</html>", b"\x89PNG\r\n\x1a\n"])
def test_something_else_is_unreadable(content, tmp_path):
    (tmp_path / "a.jpg").write_bytes(content)
    assert picture_fault(tmp_path / "a.jpg")[0] == "unreadable"


def test_another_size_is_told_with_both(tmp_path):
    kind, text = picture_fault(picture(tmp_path / "a.png"), (9, 6))
    assert kind == "size" and "8 x 6" in text and "9 x 6" in text


def test_duplicates_are_found_by_content_not_by_name_or_size(tmp_path):
    (tmp_path / "sub").mkdir()
    files = {"a.bin": b"same", "sub/b.bin": b"same", "c.bin": b"othr", "d.bin": b"longer"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    found = duplicate_findings([tmp_path / name for name in files], tmp_path)
    assert [(f.path, "a.bin" in f.text) for f in found] == [("sub/b.bin", True)]


def test_counts_are_compared_where_a_number_is_known():
    found = count_findings({"train pairs": 5, "sky masks": 2}, {"train pairs": 6, "val pairs": 1})
    assert [f.text for f in found] == ["5 train pairs, published are 6", "0 val pairs, published are 1"]


def test_a_subset_is_in_order_and_an_unmatched_file_is_not(tmp_path):
    fewer = Audit("cvusa", tmp_path, {"train pairs": 5}, {"train pairs": 6}, (Finding("count", ".", "5, not 6"),))
    assert fewer.ok and fewer.text().splitlines()[0] == "cvusa: 5 train pairs of 6"
    worse = Audit("cvusa", tmp_path, {"train pairs": 5}, {}, (Finding("unmatched", "a.jpg", "no partner"),))
    assert not worse.ok and worse.of("unmatched")[0].path == "a.jpg" and "a.jpg: no partner" in worse.text()


def test_long_lists_are_cut(tmp_path):
    many = Audit("x", tmp_path, {}, {}, tuple(Finding("missing", f"{i}", "gone") for i in range(30)))
    assert len(many.text(limit=4).splitlines()) == 1 + 4 + 1 and "and 26 more" in many.text(limit=4)


def test_unknown_formats_and_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="levir_nvs"):
        audit_dataset("nothing", tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        audit_dataset("cvusa", tmp_path / "absent")
