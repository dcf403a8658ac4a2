"""`poses_bounds.npy` of LLFF: forward-facing scenes, a row of 17 numbers a picture.

Mildenhall et al.: Local Light Field Fusion, SIGGRAPH 2019; the README of its repository. Each row is a 3 x 5 matrix
(camera to world with axes x down, y right, z back; the camera's place; height, width, focal length) and the least and
greatest depth. Rows belong to the pictures of `images` in the order of their names; folders `images_4`, `images_8` hold
them smaller. The principal point is taken to be the middle of the picture.
"""

from __future__ import annotations

import tokenize
from pathlib import Path

import numpy as np

from rsnb.data.multiview.camera_list import ListedCamera, pictures_near, rigid, views_of
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError
from rsnb.files import require_file

# What numpy raises on damage.
_UNREADABLE = (ValueError, OSError, EOFError, SyntaxError, TypeError, KeyError, MemoryError, tokenize.TokenError)


def read_llff(root: str | Path, images: str | Path | None = None) -> PosedViews:
    """Read a scene; pixels stay on the disk.

    Args:
        root: the folder of poses_bounds.npy, or the file.
        images: folder of the pictures; `images`, else the largest `images_*`, if None.

    Raises:
        InputError: no such file, not 17 numbers a row, another number of pictures than rows, depths that do not rise.
    """
    path = Path(root)
    path = require_file(path if path.is_file() else path / "poses_bounds.npy", "poses_bounds.npy")
    try:
        rows = np.load(path, allow_pickle=False)
    except _UNREADABLE as error:
        raise InputError(f"this is no array of numpy ({error})", where=path, mend="Fetch it again") from None
    if not isinstance(rows, np.ndarray):
        rows.close()
        raise InputError("this is an archive, not one array of numpy", where=path, mend="Give poses_bounds.npy")
    if rows.ndim != 2 or rows.shape[1] != 17 or rows.dtype.kind not in "fiu" or not np.isfinite(rows).all():
        raise InputError(f"the array has shape {rows.shape}, expected finite numbers [N, 17]", where=path,
                         mend="Make it again with LLFF's imgs2poses")
    folder = pictures_near(path, images)
    pictures = sorted(folder.paths, key=lambda picture: picture.name)
    if len(pictures) != len(rows):
        raise InputError(f"there are {len(rows)} rows and {len(pictures)} pictures", where=path,
                         mend="Rows belong to pictures by their order: put exactly those pictures into the folder")
    cameras = []
    for number, (row, picture) in enumerate(zip(rows.astype(np.float64), pictures, strict=True)):
        matrix, (near, far) = row[:15].reshape(3, 5), row[15:]
        if not 0 < near < far:
            raise InputError(f"row {number} (from 0) has the depths {near:g} and {far:g}", where=path,
                             mend="The least comes first, and both are above 0")
        height, width, focal = matrix[:, 4]
        K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
        cameras.append(ListedCamera(picture.name, K, rigid(matrix[:, :3], matrix[:, 3]), (width, height),
                                    near_far=(near, far)))
    return views_of(f"LLFF {path.parent.name}", path, cameras, folder, "drb_c2w")
