"""Every format is recognised by what lies in a folder; nothing, several scenes and several formats say so."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from rsnb.data.multiview.dispatch import posed_scene_formats, read_posed_scene
from rsnb.errors import InputError

CAMERA = """extrinsic
1,0,0,{x}
0,-1,0,0
0,0,-1,90
0,0,0,1

intrinsic
40,0,15.5
0,40,15.5
0,0,1

80,100
"""
TURN = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]


def pictures(folder, names=("a.png", "b.png")):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        Image.new("RGB", (32, 32), (i, 0, 0)).save(folder / name)


def scene_folder(scene, comma=",", depths=None):
    pictures(scene / "Images", [f"{i:03d}.png" for i in range(4)])
    for part in ("Cams", "Depths"):
        (scene / part).mkdir()
    for i in range(4):
        (scene / "Cams" / f"{i:03d}.txt").write_text(CAMERA.format(x=i).replace(",", comma))
        if depths == ".tiff":
            tifffile.imwrite(scene / "Depths" / f"{i:03d}.tiff", np.full((32, 32), 90, np.float32))
        elif depths == ".png":
            Image.fromarray(np.full((32, 32), 90 * 64, np.uint16)).save(scene / "Depths" / f"{i:03d}.png")
    return scene


def colmap(root, folder="sparse/0"):
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / "cameras.txt").write_text("1 PINHOLE 32 32 40 40 16 16\n")
    (root / folder / "images.txt").write_text("1 1 0 0 0 0 0 4 1 a.png\n\n2 1 0 0 0 1 0 4 1 b.png\n\n")
    pictures(root / "images")
    return root


def transforms(root, name="transforms.json"):
    pictures(root / "images")
    frames = [{"file_path": f"images/{n}.png", "transform_matrix": TURN} for n in "ab"]
    (root / name).write_text(json.dumps({"fl_x": 40, "w": 32, "h": 32, "frames": frames}))
    return root


def opensfm(root, folder="."):
    pictures(root / "images")
    (root / folder).mkdir(exist_ok=True)
    shots = {f"{n}.png": {"camera": "c", "rotation": [0, 0, 0], "translation": [0, 0, 4]} for n in "ab"}
    camera = {"projection_type": "perspective", "width": 32, "height": 32, "focal": 1.2}
    (root / folder / "reconstruction.json").write_text(json.dumps([{"cameras": {"c": camera}, "shots": shots}]))
    return root


def table(root):
    pictures(root / "images")
    rows = "".join(f"{n}.png,{i},2,30,0,0,0,40\n" for i, n in enumerate("ab"))
    (root / "oriented.csv").write_text("name,x,y,z,omega,phi,kappa,f\n" + rows)
    return root


def mvsnet(root):
    pictures(root / "images", ["00000000.jpg", "00000001.jpg"])
    (root / "cams").mkdir()
    for i in range(2):
        text = CAMERA.format(x=i).replace(",", " ").replace("80 100", "80 0.5")
        (root / "cams" / f"{i:08d}_cam.txt").write_text(text)
    return root


MADE = {"LEVIR-NVS scene_003": lambda root: scene_folder(root / "scene_003").parent,
        "LEVIR-NVS scene_004": lambda root: scene_folder(root / "scene_004", " ", ".tiff"),
        "WHU MVS scene_005": lambda root: scene_folder(root / "scene_005", ",", ".png").parent,
        "WHU MVS scene_006": lambda root: scene_folder(root / "scene_006", " "),
        "COLMAP": colmap, "COLMAP ": lambda root: colmap(root, ".") / "cameras.txt",
        "transforms.json": transforms, "transforms.json ": lambda root: transforms(root) / "transforms.json",
        "transforms.json  ": lambda root: transforms(root, "undistorted.json"),
        "OpenSfM": opensfm, "OpenSfM ": lambda root: opensfm(root, "opensfm"), "exterior orientation": table,
        "MVSNet": mvsnet}


@pytest.mark.parametrize("name", MADE)
def test_recognised(tmp_path, name):
    views = read_posed_scene(MADE[name](tmp_path))
    assert views.name.startswith(name.strip()) and len(views) >= 2 and not views.skipped
    loaded = views.load()
    assert loaded.images.shape[1:] == (3, 32, 32) and loaded.K.shape == (len(views), 3, 3)


def test_the_folder_around_a_scene_and_the_choice_among_several(tmp_path):
    colmap(tmp_path / "download" / "castle_007")
    assert read_posed_scene(tmp_path).name == "COLMAP castle_007"
    transforms(tmp_path / "download" / "fox_12")
    with pytest.raises(InputError, match=r"there are 2 scenes here. Name one with scene=: download/castle_007, downl"):
        read_posed_scene(tmp_path)
    for scene in ("fox_12", 12, "12"):
        assert read_posed_scene(tmp_path / "download", scene).name == "transforms.json fox_12"
    assert read_posed_scene(tmp_path, "download/castle_007").name == "COLMAP castle_007"
    with pytest.raises(InputError, match=r"there is no scene 'rabbit'. Choose among castle_007, fox_12"):
        read_posed_scene(tmp_path / "download", "rabbit")
    with pytest.raises(InputError, match="the path is a scene itself"):
        read_posed_scene(tmp_path / "download" / "fox_12", "fox")
    # LEVIR-NVS's own names of scenes
    for number in (0, 11):
        scene_folder(tmp_path / "levir" / f"scene_{number:03d}")
    assert read_posed_scene(tmp_path / "levir", 11).name == "LEVIR-NVS scene_011"
    assert read_posed_scene(tmp_path / "levir" / "scene_000").name == "LEVIR-NVS scene_000"
    with pytest.raises(InputError, match="2 scenes here.*scene_000"):
        read_posed_scene(tmp_path / "levir")


def test_several_formats_in_one_folder(tmp_path):
    transforms(opensfm(colmap(tmp_path)))
    views = read_posed_scene(tmp_path)
    assert views.name.startswith("COLMAP")
    assert "holds colmap and transforms_json and opensfm; colmap was read, format=" in views.notes[-1]
    for name, start in (("transforms_json", "transforms"), ("opensfm", "OpenSfM"), ("colmap", "COLMAP")):
        forced = read_posed_scene(tmp_path, format=name)
        assert forced.name.startswith(start) and not any("holds" in note for note in forced.notes)
    # what lies right here comes before a data set's scenes deeper down
    scene_folder(tmp_path / "old" / "scene_000")
    assert read_posed_scene(tmp_path).name.startswith("COLMAP")


def test_a_broken_colmap_project_says_that_there_are_other_models(tmp_path):
    colmap(colmap(tmp_path, "sparse/0"), "sparse/1")
    assert "model 0 was read; 1 beside it" in read_posed_scene(tmp_path).notes[-1]
    assert "model 1 was read; 0 beside it" in read_posed_scene(tmp_path / "sparse" / "1").notes[-1]


def test_what_is_not_there_is_told_apart(tmp_path):
    assert posed_scene_formats()[:4] == ("mvsnet", "levir_nvs", "whu_mvs", "colmap")
    with pytest.raises(InputError, match="no such file or folder"):
        read_posed_scene(tmp_path / "nowhere")
    with pytest.raises(InputError, match="Found: nothing. Looked for: mvsnet.*opensfm: reconstruction.json"):
        read_posed_scene(tmp_path)
    pictures(tmp_path / "images")
    (tmp_path / "model.xml").write_text("<document/>")
    with pytest.raises(InputError, match=r"Found: 1 .xml, folders images. Looked for") as error:
        read_posed_scene(tmp_path)
    assert error.value.mend
    with pytest.raises(InputError, match="Found: the file model.xml"):
        read_posed_scene(tmp_path / "model.xml")
    with pytest.raises(InputError, match="'nerf' is no format of posed scenes.*'auto'.*transforms_json"):
        read_posed_scene(tmp_path, format="nerf")
    for name, message in (("colmap", "no COLMAP model"), ("transforms_json", "no such transforms.json"),
                          ("opensfm", "no such OpenSfM"), ("levir_nvs", "no scene here"),
                          ("mvsnet", "no camera files"), ("exterior_orientation", "no such|table")):
        with pytest.raises(InputError, match=message):
            read_posed_scene(tmp_path, format=name)


def test_pictures_elsewhere(tmp_path):
    root = colmap(tmp_path)
    (root / "images").rename(root / "photos")
    assert read_posed_scene(root, images="photos").image_paths[0].parent.name == "photos"
    scene_folder(tmp_path / "scene_000")
    with pytest.raises(InputError, match="levir_nvs keeps its pictures in Images"):
        read_posed_scene(tmp_path / "scene_000", images="photos")


@pytest.mark.parametrize("name", ["sceaux_castle", "fox", "odm_drone", "vesta_astrovision"])
def test_real_scenes_open_with_nothing_but_their_path(real, tmp_path, name):
    root = real(f"nb3_multiview/{name}")
    views = read_posed_scene(root)
    counts = {"sceaux_castle": 11, "fox": 50, "odm_drone": 4, "vesta_astrovision": 4}
    assert len(views) == counts[name] and (len(views.skipped) == 17) == (name == "fox")
    assert read_posed_scene(root.parent, name).names == views.names


def test_pictures_of_another_size_than_the_camera_file(real, tmp_path):
    """The castle's model is of pictures four times as large; at half of what is here the cameras must still fit."""
    root = real("nb3_multiview/sceaux_castle")
    shutil.copytree(root / "colmap", tmp_path / "sparse" / "0")
    (tmp_path / "images_8").mkdir()
    for path in sorted((root / "images_4").iterdir())[:4]:
        picture = Image.open(path)
        picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX).save(
            tmp_path / "images_8" / path.name, quality=95)
    half, full = read_posed_scene(tmp_path), read_posed_scene(root)
    ratio = half.K[0] / np.where(full.K[0], full.K[0], 1)
    assert ratio[0, 0] == pytest.approx(0.5, rel=1e-3) and ratio[1, 2] == pytest.approx(0.5, rel=1e-3)
    where = np.mean(full.points, axis=0)
    assert np.abs(half.project(half.names[0], where) * 2 - full.project(half.names[0], where)).max() < 0.5


@pytest.mark.parametrize("words", [("E", "K"), ("pose", "camera matrix")])
def test_headings_may_be_any_words(tmp_path, words):
    scene_folder(tmp_path / "scene_000")
    for path in (tmp_path / "scene_000" / "Cams").iterdir():
        path.write_text(path.read_text().replace("extrinsic", words[0]).replace("intrinsic", words[1]))
    views = read_posed_scene(tmp_path)
    assert views.name.startswith("LEVIR-NVS") and views.near_far[0].tolist() == [80, 100] and views.K[0, 0, 2] == 16


def test_a_packed_scene_says_that_it_is_to_be_unpacked(tmp_path):
    shutil.make_archive(str(tmp_path / "in" / "fox"), "zip", tmp_path)
    for path in (tmp_path / "in" / "fox.zip", tmp_path / "in"):
        with pytest.raises(InputError, match=r"no posed scene .* Unpack fox\.zip"):
            read_posed_scene(path)


@pytest.mark.parametrize("format", posed_scene_formats())
def test_a_forced_format_of_something_else_is_refused_in_words(tmp_path, format):
    (tmp_path / "empty").mkdir()
    archive = shutil.make_archive(str(tmp_path / "fox"), "zip", tmp_path / "empty")
    (tmp_path / "notes.txt").write_text("hello")
    for path in (tmp_path / "empty", archive, tmp_path / "notes.txt"):
        with pytest.raises(InputError):
            read_posed_scene(path, format=format)


def test_pictures_beside_the_file_come_before_another_scenes_images(tmp_path):
    pictures(tmp_path / "images")
    pictures(tmp_path / "block")
    head = "filename,x,y,z,omega,phi,kappa,fx\n"
    (tmp_path / "block" / "eo.csv").write_text(head + "a.png,0,0,90,0,0,0,40\nb.png,9,0,90,0,0,0,40\n")
    assert {path.parent.name for path in read_posed_scene(tmp_path / "block").image_paths} == {"block"}
