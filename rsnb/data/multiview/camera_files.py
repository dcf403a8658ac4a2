"""A file `<picture>.camera` for each picture: Strecha's facades (fountain-P11, Herz-Jesu, castle) and their like.

Strecha et al.: On Benchmarking Camera Calibration and Multi-View Stereo for High Resolution Imagery, CVPR 2008:

    K            3 rows of 3
    0 0 0        distortion, none
    R            3 rows of 3: camera to world, OpenCV axes
    C            where the camera stands
    width height

The projection is K [R^T | -R^T C]; where pixels count from is not stated, K is taken as it stands. The files lie beside
the pictures, or in a folder such as gt_dense_cameras.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rsnb.data.multiview.camera_list import ListedCamera, pictures_near, rigid, views_of
from rsnb.data.multiview.pictures import PictureFolder
from rsnb.data.multiview.views import PosedViews
from rsnb.errors import InputError
from rsnb.files import require_file

_NUMBERS = 9 + 3 + 9 + 3 + 2


def camera_files_of(root: Path) -> list[Path]:
    """The `.camera` files in a folder, or in its only sub-folder that has any, by name."""
    below = sorted(root.glob("*/*.camera"))
    return sorted(root.glob("*.camera")) or (below if len({path.parent for path in below}) == 1 else [])


def read_camera_files(root: str | Path, images: str | Path | None = None) -> PosedViews:
    """Read a scene; pixels stay on the disk.

    Args:
        root: of the scene, or the folder of the camera files.
        images: folder of the pictures; `images` beside the cameras' folder, else theirs, if None.

    Raises:
        InputError: no such files, one without its 26 numbers, or one that is no rotation.
    """
    files = camera_files_of(Path(root))
    if not files:
        raise InputError("there are no files *.camera", where=root, mend="Each picture 0000.jpg has a 0000.jpg.camera")
    beside = images is None and any(path.with_suffix("").is_file() for path in files)
    folder = PictureFolder([files[0].parent]) if beside else pictures_near(files[0], images)
    return views_of(f"camera files {Path(root).name}", files[0].parent, [_camera(path) for path in files], folder,
                    "opencv_c2w")


def _camera(path: Path) -> ListedCamera:
    try:
        values = np.array([float(cell) for cell in require_file(path).read_text(encoding="utf-8").split()])
    except ValueError as error:
        raise InputError(f"there is something that is no number ({error})", where=path, mend="Repair it") from None
    if len(values) != _NUMBERS or not np.isfinite(values).all():
        raise InputError(f"the file holds {len(values)} numbers, expected {_NUMBERS} finite ones", where=path,
                         mend="They are K, three zeros, R, the camera's place, width and height")
    K, distortion, turn, place, size = np.split(values, [9, 12, 21, 24])
    if distortion.any():
        raise InputError(f"the distortion is {distortion.tolist()}, expected zeros", where=path,
                         mend="Undistort the pictures first: its model is not known here")
    return ListedCamera(path.stem, K.reshape(3, 3), rigid(turn.reshape(3, 3), place), (size[0], size[1]))
