"""Splits by protocol against the lists of the fact sheets, and every list that must be refused."""

from __future__ import annotations

import numpy as np
import pytest

from rsnb.errors import InputError
from rsnb.mpi.splits import choose_split

LEVIR = tuple(f"{i:03d}" for i in range(21))
ODD = ("001", "003", "005", "007", "009", "011", "013", "015", "017", "019")
EVEN = ("002", "004", "006", "008", "010", "012", "014", "016", "018", "020")
CASTLE = tuple(f"100_{i}.JPG" for i in range(7100, 7111))
GIVEN = {"reference": ("000",), "train": ("001", "002"), "test": ("003",), "few_shot_train": ("001",)}


def at(*places):
    """Poses of cameras that look down from these points."""
    poses = np.tile(np.diag([1.0, -1, -1, 1]), (len(places), 1, 1))
    poses[:, :3, 3] = [-pose[:3, :3] @ np.array(p, float) for pose, p in zip(poses, places, strict=True)]
    return poses


def test_ten_ten_is_odd_and_even_by_id_whatever_the_order():
    for names in (LEVIR, LEVIR[::-1], ("002", "006", "008", *(n for n in LEVIR if n not in ("002", "006", "008")))):
        split = choose_split(names, None, "ten_ten")
        assert (split.reference, split.train, split.test) == ("000", ODD, EVEN) and not split.notes


def test_three_views_never_look_at_000():
    split = choose_split(LEVIR, GIVEN, "three_view")
    assert split.train == ("001", "008", "015") and split.reference == "008"
    assert split.test == tuple(f"{i:03d}" for i in range(1, 21) if i not in (1, 8, 15)) and len(split.test) == 17
    assert "000 is not used" in split.notes[0]


def test_the_datas_own_split():
    split = choose_split(LEVIR, GIVEN, "dataset")
    assert (split.reference, split.train, split.test) == ("000", ("001", "002"), ("003",))
    assert choose_split(LEVIR, GIVEN).protocol == "dataset"
    val = choose_split(("a", "b", "c"), {"train": ("a", "b"), "val": ("c",)}, "dataset")
    assert val.test == ("c",) and val.reference in ("a", "b")


def test_every_nth():
    names = tuple("abcdefghijklmnopqr")
    assert choose_split(names, None, "every_8th").test == ("a", "i", "q")
    split = choose_split(names, None, "hold_out:6")
    assert split.test == ("d", "j", "p") and len(split.train) == 15
    assert choose_split(names).protocol == "every_8th"
    four = choose_split(("a", "b", "c", "d"))
    assert (four.train, four.test, four.protocol) == (("a", "b", "d"), ("c",), "hold_out:4")


def test_named_tests_by_any_unique_ending():
    split = choose_split(CASTLE, None, test="7104, 7105")
    assert split.test == ("100_7104.JPG", "100_7105.JPG") and len(split.train) == 9
    assert split.reference == "100_7106.JPG" and "middle" in split.notes[0]
    assert choose_split(CASTLE, None, test=["100_7104"], reference="03").reference == "100_7103.JPG"
    assert choose_split(CASTLE, None, test="7104", train="7103,7107").train == ("100_7103.JPG", "100_7107.JPG")
    # the whole name wins over the end of another
    assert choose_split(("1", "11", "21"), None, test="1").test == ("1",)


def test_the_reference_is_the_camera_in_the_middle():
    # on a line the median is nearest to all: of -1, 0, 3, 4, 9 it is 3
    poses = at((0, 0, 9), (-1, 0, 9), (9, 0, 9), (3, 0, 9), (4, 0, 9), (50, 0, 9))
    assert choose_split(tuple("abcdef"), None, test="f", world_to_cam=poses).reference == "d"
    # test views do not pull it: without 0 and -1 the median of 3, 4, 9 is 4
    assert choose_split(tuple("abcdef"), None, test="a,b,f", world_to_cam=poses).reference == "e"
    same = at(*[(k, 0, 9) for k in range(5)])
    assert choose_split(tuple("abcde"), None, test="e,a", world_to_cam=same).reference == "c"


@pytest.mark.parametrize(("names", "given", "words", "message"), [
    (("a",), None, {}, "there is one view only.*at least two"),
    ((), None, {}, "no views"),
    (CASTLE, None, {"test": "99"}, "test: there is no view '99'.*100_7100.JPG"),
    (CASTLE, None, {"test": "0"}, r"'0' fits 2 views \(100_7100.JPG, 100_7110.JPG\)"),
    (CASTLE, None, {"test": "7104", "train": "7104,7105"}, "100_7104.JPG' is a test view and a train view"),
    (CASTLE, None, {"test": "7104,100_7104.JPG"}, "there twice"),
    (CASTLE, None, {"test": "7104", "reference": "7104"}, "is the reference and a test view"),
    (CASTLE, None, {"test": ","}, "no view is named"),
    (CASTLE, None, {"test": ",".join(CASTLE)}, "no train view"),
    (CASTLE, None, {"test": ",".join(CASTLE[1:])}, "no train view beside the reference"),
    (CASTLE, None, {"test": "7104", "train": "7105"}, "no train view beside the reference"),
    (CASTLE, None, {"protocol": "dataset"}, r"no split into train and test \(it has: none\)"),
    (CASTLE, None, {"protocol": "ten_ten"}, "100_7100.JPG' is no number"),
    (CASTLE, None, {"protocol": "hold_out:1"}, "leaves nothing to train on"),
    (CASTLE, None, {"protocol": "hold_out:12"}, "leaves nothing to test"),
    (CASTLE, None, {"protocol": "half"}, "'half' is no protocol.*every_8th"),
    (LEVIR[:9], None, {"protocol": "three_view"}, "view 015 of the three-view protocol is not there"),
    (LEVIR, {"train": ("001", "099"), "test": ("002",)}, {"protocol": "dataset"}, "names view '099', which is not"),
    (LEVIR, {"train": ("001", "003"), "test": ("003",)}, {"protocol": "dataset"}, "003' is a test view and a train"),
    (LEVIR, GIVEN, {"protocol": "dataset", "train": "003"}, "003' is a test view and a train view"),
    (("000", "001"), None, {"protocol": "hold_out:2"}, "no train view beside the reference"),
])
def test_what_is_refused(names, given, words, message):
    with pytest.raises(InputError, match=message) as error:
        choose_split(names, given, **words)
    assert error.value.mend and error.value.where
