"""The room works with torch, numpy and scipy alone: everything else that is installed is hidden from it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from importlib.abc import MetaPathFinder

# What torch, numpy and scipy need themselves; and the standard library.
ALLOWED = {"torch", "torchgen", "functorch", "numpy", "scipy", "rsnb", "sympy", "mpmath", "typing_extensions",
           "filelock", "networkx", "jinja2", "markupsafe", "fsspec", "_distutils_hack", *sys.stdlib_module_names}

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED:
            raise ModuleNotFoundError(f"{name} is hidden", name=name)

sys.meta_path.insert(0, Refuse())
import importlib, pathlib, pkgutil
import torch
import rsnb.mpi

optional = {"render_numba", "render_kernels", "four_wide", "render_triton", "triton_kernels"}
found = [m.name for m in pkgutil.iter_modules(rsnb.mpi.__path__) if m.name not in optional]
for name in found:
    importlib.import_module("rsnb.mpi." + name)
for name in rsnb.mpi.__all__:
    getattr(rsnb.mpi, name)

mpi = torch.rand(4, 4, 16, 20, requires_grad=True)
K = torch.tensor([[20.0, 0, 9], [0, 22.0, 8], [0, 0, 1]])
camera = rsnb.mpi.MpiCamera(K, K, torch.eye(4), (16, 20))
rsnb.mpi.render_mpi(mpi, rsnb.mpi.plane_depths(1, 3, 4), camera).rgb.sum().backward()
assert mpi.grad.abs().max() > 0
print("modules", len(found))
"""


def test_the_room_imports_and_renders_with_torch_numpy_and_scipy_alone():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) >= 3


def test_the_check_can_fail():
    done = subprocess.run([sys.executable, "-c", PROGRAM.replace('"rsnb", ', "")], capture_output=True, text=True,
                          timeout=100)
    assert done.returncode != 0 and "is hidden" in done.stderr
