"""`rsnb fetch` as a user types it."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from rsnb import cli
from rsnb.data import manifest as manifests
from rsnb.data.download.loopback import Fault, LoopbackServer


def command(*words, **environment):
    return subprocess.run([sys.executable, "-X", "importtime", "-m", "rsnb", "fetch", *words], capture_output=True,
                          text=True, timeout=60, env={"PATH": "", "COLUMNS": "200", **environment})


def imported(answer):
    return {line.split("|")[-1].strip().split(".")[0] for line in answer.stderr.splitlines() if "|" in line}


HEAVY = {"torch", "numpy", "scipy", "requests", "pooch", "gdown", "rasterio", "tqdm", "matplotlib", "pystac_client"}


def test_all_is_planned_without_a_network_and_without_heavy_packages(tmp_path):
    # a proxy that nobody serves: whatever asked for anything would fail
    answer = command("--all", "--dry", "--root", str(tmp_path / "none"), http_proxy="http://127.0.0.1:9",
                     https_proxy="http://127.0.0.1:9")
    assert answer.returncode == 0, answer.stderr[-500:]
    for name in manifests.manifest_names():
        assert f"\n{name}: " in "\n" + answer.stdout
    assert "typer" in imported(answer) and not imported(answer) & HEAVY
    assert not (tmp_path / "none").exists()


def test_help_explains_and_is_light():
    answer = command("--help")
    assert answer.returncode == 0 and not imported(answer) & HEAVY
    for word in ("--all", "--dry", "--verify", "--audit", "--only", "--root", "exit code"):
        assert word in answer.stdout


def test_without_a_name_the_manifests_are_listed():
    answer = command()
    assert answer.returncode == 0
    for name in manifests.manifest_names():
        assert name in answer.stdout


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A server, and a folder with a manifest of it and one behind a form."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    web, folder = tmp_path / "web", tmp_path / "manifests"
    web.mkdir()
    folder.mkdir()
    (web / "a.txt").write_bytes(b"one")
    licence = {"name": "CC0-1.0", "url": "https://creativecommons.org/publicdomain/zero/1.0/", "text": "free"}
    common = {"kind": "dataset", "licence": licence, "citation": "Nobody", "used_by": ["01"], "tree": {"a.txt": "text"},
              "homepage": "https://example.org", "sensor": "none", "gsd_m": 1.0, "counts": {"files": 1}}
    with LoopbackServer(web) as server:
        digest = hashlib.sha256(b"one").hexdigest()
        for name, changes in {
            "toy": {"access": "open", "files": [
                {"path": "a.txt", "urls": [server.url_of("a.txt")], "bytes": 3, "sha256": digest}]},
            "asked": {"access": "form", "ask": "Fill the form.", "files": [
                {"path": "b.zip", "bytes": 3, "sha256": digest}]},
            "city": {"access": "built", "command": "rsnb city", "files": []},
        }.items():
            (folder / f"{name}.yaml").write_text(yaml.safe_dump({"name": name, "title": name, **common, **changes}))
        monkeypatch.setattr(manifests, "manifests_folder", lambda: folder)
        yield server


def typed(tmp_path, *words):
    return CliRunner().invoke(cli.app, ["fetch", *words, "--root", str(tmp_path / "data")])


def test_a_fetch_prints_its_plan_and_its_result(tmp_path, toy):
    first = typed(tmp_path, "toy")
    assert first.exit_code == 0, first.output
    assert "download   a.txt, 3 bytes" in first.output and "toy: 1 of 1 files verified in" in first.output
    assert (tmp_path / "data" / "toy" / "a.txt").read_bytes() == b"one"
    again = typed(tmp_path, "toy", "--verify", "--audit")
    assert again.exit_code == 0 and "there      a.txt" in again.output and "no audit for this format" in again.output
    assert len(toy.log) == 1


def test_dry_fetches_nothing(tmp_path, toy):
    assert typed(tmp_path, "toy", "--dry").exit_code == 0
    assert toy.log == [] and not (tmp_path / "data").exists()


def test_a_failure_is_told_and_the_rest_of_the_batch_goes_on(tmp_path, toy):
    toy.use_faults(Fault("*", "status", at=404))
    answer = typed(tmp_path, "toy", "city")
    assert answer.exit_code == 1 and "answers 404" in answer.output and "rsnb city" in answer.output
    broken = manifests.manifests_folder() / "broken.yaml"
    broken.write_text("name: [")
    toy.use_faults()
    answer = typed(tmp_path, "--all")
    assert answer.exit_code == 1 and "broken" in answer.output and (tmp_path / "data" / "toy" / "a.txt").is_file()
    broken.unlink()
    assert typed(tmp_path, "--all").exit_code == 0


def test_an_interrupt_says_that_nothing_is_lost(tmp_path, toy, monkeypatch):
    def interrupted(*words):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("rsnb.data.download.http.fill", interrupted)
        answer = typed(tmp_path, "toy", "city")
    assert answer.exit_code == 130 and "toy: interrupted; what has arrived is kept" in answer.output
    assert "rsnb city" not in answer.output  # the rest of the batch is not begun
    assert typed(tmp_path, "toy").exit_code == 0


def test_what_waits_for_a_person_is_no_success_by_name(tmp_path, toy):
    answer = typed(tmp_path, "asked")
    assert answer.exit_code == 1 and "Fill the form." in answer.output and "b.zip" in answer.output
    assert typed(tmp_path, "asked", "--dry").exit_code == 0


def test_what_a_person_brings_is_unpacked_and_audited(tmp_path):
    """CVUSA as its form's answer gives it: a folder CVPR_subset around everything, which neither readers nor tree have;
    what a fetch leaves beside the files is no finding of the audit."""
    folder, rng = tmp_path / "data" / "cvusa", np.random.default_rng(0)
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "CVPR_subset.zip", "w") as file:
        for number, split in ((1, "train"), (2, "val")):
            paths = {f"bingmap/19/000000{number}.jpg": (750, 750), f"streetview/panos/000000{number}.jpg": (1232, 224)}
            file.writestr(f"CVPR_subset/splits/{split}-19zl.csv", ",".join(paths) + ",label.png\n")
            for path, (width, height) in paths.items():
                picture = Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8))
                with file.open(f"CVPR_subset/{path}", "w") as stream:
                    picture.save(stream, "JPEG")
    for _ in range(2):
        answer = typed(tmp_path, "cvusa", "--audit")
        assert answer.exit_code == 0, answer.output
        assert "cvusa: 1 of 1 files verified" in answer.output
        found = answer.output[answer.output.index("cvusa: 1 train pairs of 35532, 1 val pairs of 8884"):]
        assert "unpacked" not in found and "CVPR" not in found
    assert (folder / "bingmap" / "19" / "0000002.jpg").is_file() and not (folder / "CVPR_subset").exists()


def test_an_unknown_name_is_refused_before_anything_is_fetched(tmp_path):
    answer = subprocess.run([sys.executable, "-m", "rsnb", "fetch", "resnet18_imagenet", "nothing", "--root", tmp_path],
                            capture_output=True, text=True, timeout=60, env={"PATH": ""})
    assert answer.returncode == 2 and "no manifest 'nothing'" in answer.stderr and "cvusa" in answer.stderr
    assert answer.stderr.count("\n") == 1 and os.listdir(tmp_path) == []
