"""Makes the README's pictures: `python docs/pictures.py`, after `make run`. Two minutes on two cores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import shapely

from rsnb.city import CLASSES, CityOptions, build_district
from rsnb.geometry.cameras import NadirCamera, PanoramaCamera, PinholeCamera
from rsnb.geometry.poses import look_at, nadir_pose, pose_from_heading
from rsnb.mesh import RayScene, RenderOptions, Sun, render
from rsnb.products import write_jpeg
from rsnb.runs import collect, runs_folder
from rsnb.viewers.colours import depth_colours, label_colours, normal_colours

OUT = Path(__file__).parent / "images"
GAP = 6
LOOK = RenderOptions(supersample=3, sun=Sun(np.radians(150), np.radians(40)), shadows=True, haze_m=2500)


def hero() -> np.ndarray:
    """The city from above, and one street view as colour, depth, class and normal below it."""
    district = build_district(CityOptions(), belt=True)
    scene = RayScene(district.mesh)
    ring = shapely.get_coordinates(shapely.oriented_envelope(district.layout.water))[:4]
    middle, sides = ring.mean(axis=0), (ring[1] - ring[0], ring[2] - ring[1])
    along = max(sides, key=lambda side: np.hypot(*side))
    along = along / np.hypot(*along) * (1 if along[1] > 0 else -1)
    eye = (*(middle - 230 * along - (30, 0)), 85.0)
    aerial = render(scene, PinholeCamera.from_fov(np.radians(52), 1200, 560), look_at(eye, (*(middle + (60, 30)), 8.0)),
                    LOOK).rgb
    stations = district.street_path(16.0)
    station = int(np.argmin(np.abs(stations.position[:, :2] - middle - 20 * along).sum(axis=1)))
    pose = pose_from_heading(stations.position[station] - (0, 0, 0.5), stations.heading[station] + np.pi, 0.06)
    view = render(scene, PinholeCamera.from_fov(np.radians(80), 296, 200), pose, LOOK)
    street = [view.rgb, depth_colours(view.depth), label_colours(view.semantic, CLASSES), normal_colours(view.normal)]
    panorama = render(scene, PanoramaCamera(897, 448), pose, LOOK).rgb[:, 110:330, :]
    x0, y0, x1, y1 = district.bounds
    nadir = NadirCamera((x1 - x0) / 440, 297, 220)
    above = render(scene, nadir, nadir_pose(((x0 + x1) / 2, (y0 + y1) / 2, 200.0)), LOOK).rgb
    return stack([[aerial], [panorama, above], street])


def stack(rows: list[list[np.ndarray]]) -> np.ndarray:
    """Rows of pictures [3, H, W] on white, all as wide as the first, with small gaps."""
    width = rows[0][0].shape[2]
    lines = []
    for row in rows:
        line = np.ones((3, row[0].shape[1], width), np.float32)
        x = 0
        for picture in row:
            part = picture[:, :, : width - x]
            line[:, :, x : x + part.shape[2]] = part
            x += part.shape[2] + GAP
        lines += [line, np.ones((3, GAP, width), np.float32)]
    return np.concatenate(lines[:-1], axis=1)


def from_last_run(notebook: str, names: list[str]) -> None:
    """Figures of the newest finished run of a notebook at smoke scale as JPEG."""
    from PIL import Image

    done = [r for r in collect(runs_folder())
            if (r["notebook"], r["status"], r["profile"]) == (notebook, "ok", "smoke")]
    newest = max(done, key=lambda record: record["started"])
    for name in names:
        picture = Image.open(runs_folder() / notebook / newest["key"] / f"{name}.png").convert("RGB")
        picture.save(OUT / f"{notebook[:2]}_{name}.jpg", quality=85)


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    write_jpeg(OUT / "city.jpg", hero(), quality=86)
    from_last_run("01_data_download", ["formats", "series", "resume", "ndvi"])
    from_last_run("02_mesh_rendering", ["panel", "pose", "worst", "scores"])
    from_last_run("03_mpi_optimization", ["views", "depth", "layers"])
    from_last_run("04_density_learning", ["panoramas", "heights"])
