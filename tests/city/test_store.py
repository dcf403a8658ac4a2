import hashlib
import multiprocessing
import shutil
import subprocess
import sys

import pytest

from rsnb.city.store import BUILDERS, dataset_sha256, ensure_built


def write_one(folder):
    (folder / "sub").mkdir()
    (folder / "sub" / "a.txt").write_text("hello\n")


def test_a_second_call_builds_nothing_and_other_choices_build_elsewhere(tmp_path):
    calls = []

    def build(folder):
        calls.append(folder)
        write_one(folder)

    first = ensure_built(tmp_path, "mesh", {"seed": 1}, build)
    assert ensure_built(tmp_path, "mesh", {"seed": 1}, build) == first and len(calls) == 1
    assert ensure_built(tmp_path, "mesh", {"seed": 2}, build) != first and len(calls) == 2


def test_checksums_satisfy_the_sha256sum_program(tmp_path):
    folder = ensure_built(tmp_path, "mesh", {}, write_one)
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and "sub/a.txt: OK" in done.stdout
    assert dataset_sha256(folder) == hashlib.sha256((folder / "SHA256SUMS").read_bytes()).hexdigest()


def test_a_failed_build_leaves_no_folder_and_the_next_one_works(tmp_path):
    def broken(folder):
        write_one(folder)
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        ensure_built(tmp_path, "mesh", {}, broken)
    assert not [p for p in (tmp_path / "city").iterdir() if p.is_dir()]
    folder = ensure_built(tmp_path, "mesh", {}, write_one)
    shutil.rmtree(folder)
    stale = folder.parent / f".{folder.name}.partial-1"
    stale.mkdir()  # what a killed process leaves
    assert ensure_built(tmp_path, "mesh", {}, write_one) == folder
    assert not stale.exists()


def _build_slowly(folder):
    import time

    with open(folder.parent / "calls", "a") as file:
        file.write("x")
    time.sleep(0.5)
    write_one(folder)


def _ensure(root):
    return str(ensure_built(root, "mesh", {}, _build_slowly))


def test_two_processes_build_once(tmp_path):
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert len(set(pool.map(_ensure, [tmp_path, tmp_path], chunksize=1))) == 1
    assert (tmp_path / "city" / "calls").read_text() == "x"


def test_every_module_that_writes_a_street_scene_counts_in_its_key():
    code = ("import sys, rsnb.city.write_street_scene, rsnb.city.district, rsnb.mesh.renderer\n"
            "print(*(m for m in sys.modules if m.startswith('rsnb.')))")
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    parts = {module.split(".")[1] for module in loaded}
    assert {"city", "data", "mesh", "products"} <= parts
    assert parts <= {part.removesuffix(".py") for part in BUILDERS}
