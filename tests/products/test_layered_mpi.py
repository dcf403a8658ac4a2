"""Layered multiplane images: bit for bit through our reader and through Pillow and json alone, whole or not at all."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from rsnb.errors import InputError
from rsnb.products.layered_mpi import ERROR_8BIT, read_layers, write_layers
from rsnb.products.plane_layers import over, plane_gaps

K = np.array([[31.7, 0.25, 8.1], [0, 29.3, 5.7], [0, 0, 1.0]])


def frame(height=11, width=14):
    pose = np.eye(4)
    pose[:3, 3] = [1 / 3, -2e-17, 1e9 / 7]
    return SimpleNamespace(K=K, size=(height, width), world_to_cam=pose, near=0.1, far=7 / 3, inset=(2, 3, 7, 9))


def planes(count=3, height=11, width=14, seed=0):
    """Random planes with the floats that are easily lost: denormals, both zeros, the largest, the next after 1."""
    mpi = np.random.default_rng(seed).random((count, 4, height, width), np.float32)
    mpi[:, 3] *= np.float32(40)
    mpi[0, 3, 0, :6] = [0, 1e-45, 1.1754942e-38, 3.4028235e38, 5e-8, 1e4]
    mpi[0, 0, 0, :4] = [0, -0.0, 1, np.nextafter(np.float32(1), np.float32(2))]
    return mpi, 1 / np.linspace(1 / 0.1, 3 / 7, count)


def test_reloads_bit_for_bit(tmp_path):
    mpi, depths = planes()
    back = read_layers(write_layers(tmp_path / "scene", mpi, depths, frame(), name="town é"))
    assert back.mpi.dtype == np.float32 and np.array_equal(back.mpi.view(np.uint32), mpi.view(np.uint32))
    assert np.signbit(back.mpi[0, 0, 0, 1])  # -0.0
    for key in ("K", "world_to_cam"):
        assert np.array_equal(getattr(back, key), getattr(frame(), key))
    assert np.array_equal(back.depths, depths) and back.depths.dtype == np.float64
    assert (back.near, back.far, back.inset, back.size) == (0.1, 7 / 3, (2, 3, 7, 9), (11, 14))
    assert back.name == "town é" and back.exact
    # what was read is a frame itself: written again, the files are the same to the byte
    write_layers(tmp_path / "again", back.mpi, back.depths, back, name=back.name)
    files = sorted(p.relative_to(tmp_path / "scene") for p in (tmp_path / "scene").rglob("*.*"))
    assert len(files) == 7
    assert all((tmp_path / "scene" / f).read_bytes() == (tmp_path / "again" / f).read_bytes() for f in files)


def test_pillow_and_json_alone_read_it(tmp_path):
    mpi, depths = planes()
    write_layers(tmp_path, mpi, depths, frame())
    index = json.loads((tmp_path / "mpi.json").read_text())
    height, width = index["size"]
    for i, entry in enumerate(index["planes"]):
        image = Image.open(tmp_path / entry["exact"]["file"])
        assert image.mode == "I;16" and image.size == (2 * width, 4 * height)
        for channel, y, x in np.ndindex(4, height, width):
            row = channel * height + y
            bits = image.getpixel((x, row)) * 65536 + image.getpixel((x + width, row))
            assert np.uint32(bits).view(np.float32).tobytes() == mpi[i, channel, y, x].tobytes()
    assert [entry["depth"] for entry in index["planes"]] == depths.tolist()
    assert index["K"] == K.tolist()


def test_layers_are_straight_alpha_of_the_gap(tmp_path):
    # depths 1, 2, 4: gaps 1, 2 and again 2. sigma = ln 2 hides 1 - 1/2 = 128/255 on the first, 1 - 1/4 on the others
    mpi = np.zeros((3, 4, 2, 2), np.float32)
    mpi[:, 0], mpi[:, 3] = 0.5, np.log(2)
    mpi[2, 1], mpi[2, 3, 0, 0] = 7.0, 0.0  # a colour out of range; and a hole, whose colour stays
    facts = SimpleNamespace(K=np.eye(3), size=(2, 2), world_to_cam=np.eye(4), near=1, far=4, inset=(0, 0, 2, 2))
    write_layers(tmp_path, mpi, [1.0, 2.0, 4.0], facts)
    layers = np.stack([np.asarray(Image.open(tmp_path / f"planes/plane_{i:03d}.png")) for i in range(3)])
    assert layers.shape == (3, 2, 2, 4)
    assert layers[:, 1, 1].tolist() == [[128, 0, 0, 128], [128, 0, 0, 191], [128, 255, 0, 191]]
    assert layers[2, 0, 0].tolist() == [128, 255, 0, 0]
    assert plane_gaps(np.array([3.0])).tolist() == [3.0]
    # over by hand: 1/2 * 1/2 red in front, 1/2 * 3/4 * 1/2 behind, 1/8 * 3/4 (1/2 red, 1 green) last, in 8 bits
    colour, alpha = over(layers)
    assert np.abs(colour[:, 1, 1] - [0.25 + 0.1875 + 0.046875, 0.09375, 0]).max() < 0.004
    assert abs(alpha[1, 1] - (1 - 1 / 32)) < 0.004
    # an image editor's own blending (Pillow's) agrees within its rounding
    canvas = Image.new("RGBA", (2, 2), (0, 0, 0, 255))
    for layer in layers[::-1]:
        canvas = Image.alpha_composite(canvas, Image.fromarray(layer))
    assert np.abs(np.asarray(canvas)[..., :3] / 255 - colour.transpose(1, 2, 0)).max() < 3 / 255


def test_without_exact_planes_it_reads_within_the_stated_error(tmp_path):
    mpi, depths = planes(5, 40, 50)
    facts = frame(40, 50)
    folder = write_layers(tmp_path / "small", mpi, depths, facts, exact=False)
    assert not (folder / "exact").exists()
    back = read_layers(folder)
    assert not back.exact and np.isfinite(back.mpi).all()
    gaps = plane_gaps(depths)[:, None, None]
    alpha, got = (-np.expm1(-m[:, 3].astype(np.float64) * gaps) for m in (mpi, back.mpi))
    error = max(np.abs(np.clip(mpi[:, :3], 0, 1) - back.mpi[:, :3]).max(), np.abs(alpha - got).max())
    assert 0.9 * ERROR_8BIT < error <= ERROR_8BIT + 1e-6  # the bound is kept, and tight
    # what was approximate stays as it is when it is written and read again
    again = read_layers(write_layers(tmp_path / "again", back.mpi, back.depths, back, exact=False))
    assert np.array_equal(again.mpi, back.mpi)


def test_replaces_an_earlier_export_and_nothing_else(tmp_path):
    mpi, depths = planes()
    write_layers(tmp_path / "scene", *planes(5), frame())
    write_layers(tmp_path / "scene", mpi, depths, frame(), exact=False)
    assert len(list((tmp_path / "scene").rglob("*.png"))) == 3  # no plane of the earlier one is left
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/mine.txt").write_text("mine")
    with pytest.raises(InputError, match="something else"):
        write_layers(tmp_path / "notes", mpi, depths, frame())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes", "scene"]


def test_a_failing_write_leaves_the_old_folder_and_no_litter(tmp_path, monkeypatch):
    mpi, depths = planes()
    folder = write_layers(tmp_path / "scene", mpi, depths, frame())
    before = {p: p.read_bytes() for p in folder.rglob("*.*")}
    save, count = Image.Image.save, iter(range(100))

    def full_disk(self, *args, **options):
        if next(count) == 3:
            raise OSError(28, "No space left on device")
        save(self, *args, **options)

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(OSError, match="No space"):
        write_layers(folder, mpi * np.float32(0.5), depths, frame())
    assert {p: p.read_bytes() for p in folder.rglob("*.*")} == before
    assert list(tmp_path.iterdir()) == [folder]


def spoil(folder, what):
    plane = folder / "exact/plane_001.png"
    if what == "missing plane":
        plane.unlink()
    elif what == "damaged plane":
        data = bytearray(plane.read_bytes())
        data[len(data) // 2] ^= 1
        plane.write_bytes(data)
    elif what == "no index":
        (folder / "mpi.json").unlink()
    elif what == "cut index":
        (folder / "mpi.json").write_text((folder / "mpi.json").read_text()[:-40])
    else:
        index = json.loads((folder / "mpi.json").read_text())
        if what == "other format":
            index["format"] = "png layers"
        elif what == "newer version":
            index["version"] = 2
        elif what == "no depth":
            del index["planes"][2]["depth"]
        elif what == "other size":
            index["size"] = [12, 14]
        elif what == "negative size":
            index["size"] = [-11, 14]
        elif what == "no gap":
            index["planes"][1]["gap"] = 0
        elif what == "flat K":
            index["K"] = [1, 2, 3]
        elif what == "outside":
            index["planes"][0]["exact"]["file"] = "../../secret.png"
        (folder / "mpi.json").write_text(json.dumps(index))


@pytest.mark.parametrize(("what", "message"), [
    ("missing plane", r"plane_001\.png: there is no such plane"), ("damaged plane", r"plane_001\.png.*sha256"),
    ("no index", r"mpi\.json: there is no such index"), ("cut index", "no JSON"), ("other format", "no index of a"),
    ("newer version", "version is 2"), ("no depth", r"planes\[2\]\.depth"), ("other size", r"shape \(44, 28\)"),
    ("negative size", "size is missing or of another form"), ("no gap", r"planes\[1\]\.gap"),
    ("flat K", "K is missing or of another form"), ("outside", "outside the folder")])
def test_damage_is_named(tmp_path, what, message):
    folder = write_layers(tmp_path / "scene", *planes(), frame())
    spoil(folder, what)
    with pytest.raises(InputError, match=message):
        read_layers(folder)


@pytest.mark.parametrize(("change", "message"), [
    (lambda m, d, f: (m[:, :3], d, f), r"\[P, 4, H, W\]"), (lambda m, d, f: (m, d[:2], f), "depths of shape"),
    (lambda m, d, f: (m.astype(np.float64), d, f), "float64"), (lambda m, d, f: (m, d[::-1], f), "nearest first"),
    (lambda m, d, f: (m - 0.5, d, f), "plane 0.*below 0"), (lambda m, d, f: (m * np.nan, d, f), "not finite"),
    (lambda m, d, f: (m[..., :-1], d, f), "frame of"),
    (lambda m, d, f: (m, d, SimpleNamespace(**{**vars(f), "inset": (9, 9, 9, 9)})), "inset")],
    ids=["channels", "depths", "type", "order", "sigma", "nan", "size", "inset"])
def test_bad_planes_are_refused_and_leave_nothing(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        write_layers(tmp_path / "scene", *change(*planes(), frame()))
    assert not list(tmp_path.iterdir())
