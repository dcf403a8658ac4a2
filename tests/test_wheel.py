"""A wheel built from the clone works elsewhere: in an empty environment, with its manifests and templates inside."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(project, tmp_path_factory):
    pytest.importorskip("hatchling")
    source = tmp_path_factory.mktemp("source") / "rsnb"
    keep = ("rsnb", "data_manifests", "pyproject.toml", "LICENSE", "README.md")
    source.mkdir()
    for name in keep:  # a copy, so that building leaves nothing in the clone
        if (project / name).is_dir():
            shutil.copytree(project / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (project / name).exists():
            shutil.copy(project / name, source / name)
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=source, check=True,
                   capture_output=True, timeout=100)
    return next(folder.glob("*.whl"))


def test_what_is_inside(wheel, project):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"rsnb/data_manifests/{p.name}" for p in (project / "data_manifests").iterdir()} <= names
    assert {"rsnb/runs/templates/index.html.j2", "rsnb/products/templates/mpi.html"} <= names
    templates = (project / "rsnb").glob("*/templates/*")
    assert {path.relative_to(project).as_posix() for path in templates} <= names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [n for n in names if n.startswith(("tests/", "notebooks/")) or "__pycache__" in n]


def test_it_works_in_an_empty_environment(wheel, tmp_path):
    """No dependency is installed there: only what needs none may be asked for, and it must not find the clone."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True, timeout=100)
    python = next(p for p in (venv / "bin" / "python", venv / "Scripts" / "python.exe") if p.exists())
    where = subprocess.run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True,
                           capture_output=True, text=True).stdout.strip()
    with zipfile.ZipFile(wheel) as content:
        content.extractall(where)  # what any installer does with a pure wheel
    program = ("import rsnb, rsnb.errors, rsnb.runs, rsnb.data.manifest as m\n"
               "print(rsnb.__version__, m.manifest_names(), m.manifests_folder())")
    done = subprocess.run([python, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("0.1.0 ['city'") and str(venv) in done.stdout


def test_uv_installs_it(wheel, tmp_path):
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.prefix) / "bin"))
    if uv is None:
        pytest.skip("uv is not installed")
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, tmp_path / "venv"], check=True, timeout=60)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([uv, "pip", "install", "-q", "--offline", "--no-deps", "--python", python, wheel], check=True,
                   timeout=60)
    done = subprocess.run([python, "-c", "import rsnb.data.manifest as m; print(m.manifest_names())"], cwd=tmp_path,
                          capture_output=True, text=True, check=True)
    assert "city" in done.stdout
    assert (tmp_path / "venv" / "bin" / "rsnb").exists()
