"""The notebooks run with plain papermill, from any folder. (`make test` runs them under plain nbval.)"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.mark.slow
@pytest.mark.parametrize("notebook", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_papermill_at_tiny_scale_from_another_folder(notebook, tmp_path):
    tiny = FOLDER / "params" / "tiny" / f"{notebook.stem[:2]}.yaml"
    done = subprocess.run(
        [sys.executable, "-m", "papermill", notebook, tmp_path / "out.ipynb", "--no-progress-bar", "-f", tiny,
         "-p", "out_dir", tmp_path / "out"], cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert report["notebook"] == notebook.stem and report["metrics"]
    for name in (*report["figures"], *report["artefacts"]):
        assert (tmp_path / "out" / name).exists()
    assert {p.name for p in tmp_path.iterdir()} == {"out", "out.ipynb"}  # nothing beside what was named
