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
        # a part of the standard library that is called after the platform, as scipy asks for it
        if name.partition(".")[0] not in ALLOWED and not name.startswith("_sysconfigdata_"):
            raise ModuleNotFoundError(f"{name} is hidden", name=name)

sys.meta_path.insert(0, Refuse())
import importlib, pkgutil
import torch
import rsnb.density as density
from rsnb.geometry.cameras import PanoramaCamera

optional = {"march_numba", "march_triton", "triton_kernels"}
found = [m.name for m in pkgutil.iter_modules(density.__path__) if m.name not in optional]
for name in found:
    importlib.import_module("rsnb.density." + name)
for name in density.__all__:
    getattr(density, name)

camera, place = PanoramaCamera(32, 16), torch.tensor([1.0, 2.0, 1.6])
net = density.DensityNet(density.DensityNetOptions.of_size("tiny"))
tile = torch.rand(1, 3, 16, 16)
volume = density.DensityVolume(net(tile), tile, density.TileFrame(40.0, 16.0))
seen = density.render_panorama(volume, camera, place)  # the cylinder, with gradients
seen.rgb.sum().backward()
assert max(p.grad.abs().max() for p in net.parameters()) > 0

with torch.no_grad():  # "auto" takes numba elsewhere, and does without it here
    volume = density.DensityVolume(volume.sigma.detach(), tile, volume.frame)
    again = density.render_panorama(volume, camera, place)
    plain = density.render_panorama(volume, camera, place, options=density.RenderOptions(backend="torch"))
    assert (again.opacity - plain.opacity).abs().max() < 0.02 and plain.opacity.min() > 0
    refine = density.RefineNet(density.RefineNetOptions.of_size("tiny"))
    assert refine(refine.features(plain, volume.frame.half_m), None).shape == (1, 3, 16, 32)
    assert density.height_map(volume).shape == volume.sigma[:, 0].shape
for backend in ("numba", "triton"):
    try:
        density.render_panorama(volume, camera, place, options=density.RenderOptions(backend=backend))
    except ValueError as error:
        assert f"needs the package {backend}" in str(error), error
    else:
        raise AssertionError(f"{backend} is hidden and works")
print("modules", len(found))
"""


def test_the_room_imports_and_renders_with_torch_numpy_and_scipy_alone():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[1]) >= 28


def test_the_check_can_fail():
    done = subprocess.run([sys.executable, "-c", PROGRAM.replace('"rsnb", ', "")], capture_output=True, text=True,
                          timeout=100)
    assert done.returncode != 0 and "is hidden" in done.stderr
