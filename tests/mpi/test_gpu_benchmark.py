"""The script that measures on a GPU: all of it runs at toy size on the CPU, so that it does not rot unseen."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import torch


def test_every_check_runs_dry(project, tmp_path):
    pytest.importorskip("triton", reason="triton is not installed")
    out = tmp_path / "gpu.json"
    done = subprocess.run([sys.executable, project / "benchmarks" / "gpu.py", "--dry", "--out", out],
                          capture_output=True, text=True, timeout=300, env=os.environ | {"PYTHONWARNINGS": "ignore"})
    assert done.returncode == 0, done.stdout + done.stderr
    record = json.loads(out.read_text())
    assert record["dry"] and record["device"] == "cpu"
    checks = record["checks"]
    assert list(checks) == ["renderer parity", "renderer times", "full scene", "published decoder", "mesh shading",
                            "density parity", "density times", "density step", "marked tests"]
    assert not [name for name, found in checks.items() if "broke" in found]
    # what wants a GPU says so, and nothing else is left out
    assert [name for name, found in checks.items() if "left out" in found] == ["mesh shading", "marked tests"]
    assert checks["full scene"]["view_steps"] == 10 and checks["published decoder"]["steps"] == 2
    assert sum("triton" in line["line"] and line["kept"] for line in record["verdict"]) == 6


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_and_writes_nothing(project, tmp_path):
    out = tmp_path / "gpu.json"
    done = subprocess.run([sys.executable, project / "benchmarks" / "gpu.py", "--out", out], capture_output=True,
                          text=True, timeout=100)
    assert done.returncode == 0 and "no GPU" in done.stdout and not out.exists()
