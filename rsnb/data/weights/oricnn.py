"""OriCNN's published TensorFlow checkpoints (Liu, Li, CVPR 2019): two encoders, one for each view.

How one gets the dict, wherever TensorFlow (1.15 or 2) is installed:

    reader = tf.train.load_checkpoint("PreTrainModel/model.ckpt")
    state = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    numpy.savez("oricnn.npz", **state)  # then numpy.load elsewhere

| published, v = sat_rgbori or grd_rgbori | ours, view = satellite or panorama | published shape |
|---|---|---|
| {v}encoder_{n}/conv2d/kernel, n = 1 ... 7 | {view}.conv{n}.weight | 4, 4, in, out (HWIO), ours is OIHW |
| {v}encoder_{n}/conv2d/bias | {view}.conv{n}.bias | out |
| {v}encoder_{n}/batch_normalization/gamma, beta, n = 2 ... 7 | {view}.norm{n}.weight, bias | out |
| {v}encoder_{n}/batch_normalization/moving_mean, moving_variance | {view}.norm{n}.running_mean, running_var | out |

Channels are 5, 64, 128, 256, 512, 512, 512, 512; 15,347,904 parameters in each encoder. Adam's slots and the step
counter are left out. The scopes stand in the authors' code; `conv2d` and `batch_normalization` are the names that
TensorFlow 1.4 gives layers without one. No published file could be opened to see them, so a number behind them
(`conv2d_3`, as some versions count) and `:0` at the end are accepted.

To run it as published:
- Input channels are blue, green, red in -1 ... 1, then yaw / pi and pitch / pi (panorama) or 2 radius - 1 (satellite).
- Stride 2 with TensorFlow's SAME padding: one pixel on each side where the size is even; where it is odd (widths 77 and
  39 of the panorama) one pixel before and two behind.
- Normalise by the statistics of the batch, epsilon 1e-5: the moving averages were never updated and are still 0 and 1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from rsnb.data.weights.renaming import Array, Becomes, rename
from rsnb.errors import InputError

CHANNELS = (5, 64, 128, 256, 512, 512, 512, 512)
_VIEWS = {"sat_rgbori": "satellite", "grd_rgbori": "panorama"}
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
_LEFT_OUT = re.compile(r"(^|/)(Adam(_\d+)?|beta[12]_power|Variable(_\d+)?|global_step)$")


def convert_oricnn(state: Mapping[str, Array]) -> dict[str, Array]:
    """Both encoders, keys "satellite. ..." and "panorama. ...".

    Args:
        state: {TensorFlow variable name: array}.

    Raises:
        InputError: a variable or shape that does not belong, or one missing.
    """
    if not isinstance(state, Mapping):
        raise InputError(f"expected a mapping of names to arrays, not {type(state).__name__}", where="OriCNN")
    plain: dict[str, Array] = {}
    for name, array in state.items():
        key = _plain(name)
        if key in plain:
            raise InputError(f"two variables are called {key!r} but for a number, the second {name!r}", where="OriCNN",
                             mend="The layers of this checkpoint are counted in a way that is not known here")
        plain[key] = array
    return rename(plain, oricnn_table(), "OriCNN", lambda key: _LEFT_OUT.search(key) is not None)


def oricnn_table() -> dict[str, Becomes]:
    """Published variable -> our key, its published shape and the order of axes."""
    table = {}
    for scope, view in _VIEWS.items():
        for n in range(1, len(CHANNELS)):
            inward, outward, name = CHANNELS[n - 1], CHANNELS[n], f"{scope}encoder_{n}"
            kernel = Becomes(f"{view}.conv{n}.weight", (4, 4, inward, outward), (3, 2, 0, 1))
            table[f"{name}/conv2d/kernel"] = kernel
            table[f"{name}/conv2d/bias"] = Becomes(f"{view}.conv{n}.bias", (outward,))
            for part, ours in _NORM.items() if n > 1 else ():
                table[f"{name}/batch_normalization/{part}"] = Becomes(f"{view}.norm{n}.{ours}", (outward,))
    return table


def _plain(name: str) -> str:
    """Without `:0` and without the number that TensorFlow puts behind a layer that has no name of its own."""
    return re.sub(r"/(conv2d|batch_normalization)_\d+/", r"/\1/", str(name).removesuffix(":0"))
