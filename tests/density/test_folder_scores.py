"""Folder against folder: hand-made pairs with known scores, files without partner, real Dayton tuples."""

from __future__ import annotations

import csv
import math

import numpy as np
import pytest
from PIL import Image

from rsnb.density import image_scores
from rsnb.density.folder_scores import score_folders
from rsnb.density.image_scores import METRICS
from rsnb.errors import InputError
from rsnb.metrics.image import psnr
from rsnb.metrics.sharpness import sharpness_difference_shi

QUICK = ("psnr", "ssim", "rmse", "sd")


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


@pytest.fixture
def folders(tmp_path):
    """pred and truth: "a" differs by 51 grey levels everywhere, "b" is equal; one file on each side is alone."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 200, (32, 48, 3))
    save(tmp_path / "pred/a.png", picture + 51)
    save(tmp_path / "truth/a.png", picture)
    save(tmp_path / "pred/b.png", picture)
    save(tmp_path / "truth/b.bmp", picture)
    save(tmp_path / "pred/extra.png", picture)
    save(tmp_path / "truth/missing.png", picture)
    (tmp_path / "pred/notes.txt").write_text("not a picture")
    return tmp_path / "pred", tmp_path / "truth"


def test_scores_are_those_of_the_hand(folders):
    found = score_folders(*folders, QUICK)
    assert found.names == ("a", "b")
    assert found.only_pred == ("extra.png",) and found.only_truth == ("missing.png",)
    assert found.scores["rmse"] == pytest.approx([51.0, 0.0], abs=1e-4)
    assert found.scores["psnr"][0] == pytest.approx(20 * math.log10(5), abs=1e-4)  # 51 / 255 is a fifth: 13.98 dB
    assert found.scores["psnr"][1] == math.inf and found.scores["ssim"][1] == pytest.approx(1)
    assert found.scores["sd"].min() > 60  # a shift of all samples keeps every edge, but for rounding
    assert found.mean()["rmse"] == pytest.approx(25.5, abs=1e-4)
    assert found.counted() == dict.fromkeys(QUICK, 2)


def test_table_on_disk(folders, tmp_path):
    found = score_folders(*folders, ("rmse",))
    rows = list(csv.reader(found.write_csv(tmp_path / "scores.csv").open()))
    assert rows[0] == ["name", "rmse"] and [row[0] for row in rows[1:]] == ["a", "b", "mean"]
    assert [float(row[1]) for row in rows[1:]] == pytest.approx([51, 0, 25.5], abs=1e-4)


def test_intervals_are_those_of_the_mean(folders):
    found = score_folders(*folders, ("rmse", "psnr")).interval(resamples=400)
    # of two pairs a quarter of the draws hold the first twice, a quarter the second
    assert (found["rmse"].low, found["rmse"].high) == pytest.approx((0, 51), abs=1e-4)
    assert found["rmse"].value == pytest.approx(25.5, abs=1e-4) and found["psnr"].value == math.inf


def test_a_score_that_cannot_be_is_a_gap_and_no_nan_mean(tmp_path):
    for side in ("pred", "truth"):
        save(tmp_path / side / "small.png", np.full((8, 8, 3), 100))  # smaller than the window of SSIM
        save(tmp_path / side / "large.png", np.random.default_rng(1).integers(0, 255, (16, 16, 3)))
    found = score_folders(tmp_path / "pred", tmp_path / "truth", ("ssim", "rmse"))
    assert found.names == ("large", "small") and np.isnan(found.scores["ssim"]).tolist() == [False, True]
    assert found.mean()["ssim"] == pytest.approx(1) and found.counted() == {"ssim": 1, "rmse": 2}
    assert found.notes == ("small: no ssim: 8 x 8 pixels, and it needs 11 x 11",)
    assert found.interval()["ssim"].low is None
    rows = list(csv.reader(found.write_csv(tmp_path / "scores.csv").open()))
    assert rows[2][:2] == ["small", ""] and float(rows[3][1]) == pytest.approx(1)


def test_all_metrics_are_those_of_the_tables_of_pictures(folders, monkeypatch):
    asked = []

    def distance(a, b, net, **more):
        asked.append(net)
        return {"alex": 0.1, "squeeze": 0.2, "vgg": 0.3}[net]

    monkeypatch.setattr(image_scores, "lpips_distance", distance)
    found = score_folders(*folders, tuple(METRICS))
    assert asked == ["alex", "squeeze", "vgg"] * 2
    assert [found.mean()[f"lpips_{net}"] for net in ("alex", "squeeze", "vgg")] == pytest.approx([0.1, 0.2, 0.3])
    pictures = [np.asarray(Image.open(folders[k] / "a.png"), np.float32).transpose(2, 0, 1) / np.float32(255)
                for k in (0, 1)]
    assert found.scores["sd_shi"][0] == pytest.approx(sharpness_difference_shi(*pictures), rel=1e-9)

    def missing(a, b, net, **more):
        raise InputError("the trunk is not on this machine")

    monkeypatch.setattr(image_scores, "lpips_distance", missing)
    with pytest.raises(InputError, match="not on this machine"):  # no gap: it would be one in every row
        score_folders(*folders, ("lpips_squeeze",))


def test_sizes_must_agree_or_be_made_to(folders):
    save(folders[0] / "a.png", np.zeros((16, 24, 3)))
    with pytest.raises(InputError, match="24 x 16 pixels.*48 x 32"):
        score_folders(*folders, ("rmse",))
    found = score_folders(*folders, ("rmse",), resize="to truth")
    assert found.notes == ("a.png: resized from 24 x 16 to 48 x 32",)


def test_bad_folders_are_refused(folders, tmp_path):
    pred, truth = folders
    with pytest.raises(InputError, match="no such folder"):
        score_folders(tmp_path / "nowhere", truth)
    with pytest.raises(InputError, match="metrics"):
        score_folders(pred, truth, ("fid",))
    save(tmp_path / "other/c.png", np.zeros((32, 48, 3)))
    with pytest.raises(InputError, match="no picture has the name.*rename one side"):
        score_folders(tmp_path / "other", truth)
    (tmp_path / "void").mkdir()
    with pytest.raises(InputError, match="no pictures"):
        score_folders(tmp_path / "void", truth)
    save(pred / "a.jpg", np.zeros((32, 48, 3)))
    with pytest.raises(InputError, match=r"a\.png and a\.jpg"):
        score_folders(pred, truth)
    (pred / "a.jpg").unlink()
    (pred / "a.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(InputError, match=r"a\.png: this is no picture"):
        score_folders(pred, truth)


def test_dayton_tuples_score_like_pictures_read_by_hand(real, tmp_path):
    # A tuple is ground | aerial | labels of the ground | labels of the aerial picture, 256 x 256 each. Half the
    # resolution and back is the "prediction"; the aerial picture as a prediction must be far worse.
    folder = real("nb4_sat2ground/dayton_samples")
    files = sorted(folder.glob("*.jpg"))[:4]
    for path in files:
        tuple_ = np.asarray(Image.open(path).convert("RGB"))
        assert tuple_.shape == (256, 1024, 3)
        ground = Image.fromarray(tuple_[:, :256])
        save(tmp_path / "truth" / f"{path.stem}.png", ground)
        save(tmp_path / "soft" / f"{path.stem}.png", ground.resize((128, 128), Image.Resampling.BOX).resize((256, 256)))
        save(tmp_path / "aerial" / f"{path.stem}.png", tuple_[:, 256:512])
    soft = score_folders(tmp_path / "soft", tmp_path / "truth", ("psnr", "ssim"))
    other = score_folders(tmp_path / "aerial", tmp_path / "truth", ("psnr", "ssim"))
    assert soft.names == tuple(path.stem for path in files) and not soft.only_pred
    arrays = [np.asarray(Image.open(tmp_path / side / f"{files[0].stem}.png"), float).transpose(2, 0, 1) / 255
              for side in ("soft", "truth")]
    assert soft.scores["psnr"][0] == pytest.approx(psnr(*arrays), abs=1e-4)
    assert soft.mean()["psnr"] > other.mean()["psnr"] + 8 and soft.mean()["ssim"] > other.mean()["ssim"] + 0.4
