"""Notebook 02's data set from the city, in the formats of the Helsinki data: mesh tiles, `panos.txt`, street views.

    mesh/          Tile_+1984_+2690_L1.obj ...  the photogrammetry-like twin, which a method is given
    mesh_exact/    the same tiles with exact geometry and the twin's kind of texture (to tell apart what costs what)
    panos.txt      Pano_ID, Lat, Lon, Y, X of the known panoramas
    panoramas/     <Pano_ID>.jpg and .json, pictures of the true city every 16 m
    left_out/      panoramas between them and across junctions, for scoring only
    street_views/  tile-...-fov-90-direction-...jpg with the pose that a provider would state, metres off
    picks/         nine picked pairs for each street view, as an annotator would leave them
    truth/         poses.json of the street views, dsm.tif and labels.tif of the true city
    topview.tif    the true city from above
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from rsnb.city.district import District, build_district, shared_district
from rsnb.city.options import GEOREFERENCE, CityOptions, check_index
from rsnb.city.picking import PickingOptions, provider_pose, simulate_picks
from rsnb.city.stations import Stations
from rsnb.city.store import ensure_built
from rsnb.city.twin import TwinOptions, bake_twin
from rsnb.data import (
    HELSINKI_GRID,
    PanoTable,
    StreetView,
    format_street_view_name,
    format_tile_name,
    tile_of,
    write_panos,
    write_picks,
    write_sidecar,
)
from rsnb.errors import InputError
from rsnb.files import write_text
from rsnb.geometry import poses
from rsnb.geometry.cameras import NadirCamera, PanoramaCamera, PinholeCamera
from rsnb.geometry.georeference import model_to_lonlat
from rsnb.mesh.renderer import RenderOptions, render
from rsnb.mesh.scene import RayScene
from rsnb.mesh.shading import Sun
from rsnb.products import write_geotiff, write_jpeg, write_obj
from rsnb.scenes import TexturedMesh

FOV = np.pi / 2  # of the perspective street views


@dataclass(frozen=True)
class StreetSceneOptions:
    """What to write.

    Attributes:
        city, twin: see there.
        district: (i, j).
        spacing_m: between panoramas along a street.
        reach_m: panoramas lie within this distance of the district's middle (max norm).
        n_left_out: panoramas for scoring, midway between known ones, 1 m beside their line, junctions first.
        panorama_width: pixels (height is half of it).
        n_views, view_size: perspective street views and their width and height in pixels.
        camera_height_m: above the street.
        supersample: colour rays a pixel and axis in all pictures.
        sun_azimuth_deg, sun_elevation_deg: when the street was photographed.
        exact_mesh: also write `mesh_exact`.
        top_gsd_m: metres a pixel of the rasters from above.
    """

    city: CityOptions = field(default_factory=CityOptions)
    twin: TwinOptions = field(default_factory=TwinOptions)
    picking: PickingOptions = field(default_factory=PickingOptions)
    district: tuple[int, int] = (0, 0)
    spacing_m: float = 16.0
    reach_m: float = 90.0
    n_left_out: int = 24
    panorama_width: int = 384
    n_views: int = 12
    view_size: int = 640
    camera_height_m: float = 2.5
    supersample: int = 2
    sun_azimuth_deg: float = 238.0
    sun_elevation_deg: float = 36.0
    exact_mesh: bool = False
    top_gsd_m: float = 0.5


def ensure_street_scene(root: str | Path, options: StreetSceneOptions = StreetSceneOptions()) -> Path:
    """The folder of the data set below `root`, built now if it is not there yet (see `store.ensure_built`).

    Raises:
        InputError: a district that does not exist, or too few stations; before anything is written.
    """
    check_index(options.district)
    return ensure_built(root, "street-scene", asdict(options), lambda folder: write_street_scene(folder, options))


def write_street_scene(folder: Path, options: StreetSceneOptions) -> None:
    """Write all files into an existing folder."""
    with ThreadPoolExecutor(2) as pool:  # the geometry library lets go of Python's lock
        first = pool.submit(shared_district, options.city, tuple(options.district))
        second = pool.submit(build_district, options.city, options.district, "twin")
        district, twin = first.result(), second.result().mesh
    truth = district.scene
    look = RenderOptions(
        supersample=options.supersample, shadows=True, haze_m=1500.0, channels=("rgb",),
        sun=Sun(np.radians(options.sun_azimuth_deg), np.radians(options.sun_elevation_deg)))
    write_tiles(folder / "mesh", twin, truth, district.bounds, options.twin)
    if options.exact_mesh:
        write_tiles(folder / "mesh_exact", district.mesh, truth, district.bounds, options.twin)
    known, left_out = choose_stations(district, options)
    write_panoramas(folder, known, left_out, truth, look, options)
    write_street_views(folder, known, truth, RayScene(twin), look, options)
    write_top_view(folder, district, look, options.top_gsd_m)


def write_tiles(folder: Path, geometry: TexturedMesh, truth: RayScene, bounds, options: TwinOptions) -> None:
    """Cut a mesh into the 250 m tiles of the Helsinki grid, bake each one's texture, write OBJ files.

    What sticks out of `bounds` goes with the tile that it sticks out of.
    """
    size, low, high = HELSINKI_GRID.size_m, np.array(bounds[:2]), np.array(bounds[2:])
    middle = geometry.vertices[geometry.faces].mean(axis=1)
    cell = np.floor(np.clip(middle[:, :2], low + 1.0, high - 1.0) / size).astype(int)  # eaves belong to their house

    def write(place: tuple[int, int]) -> None:
        part = geometry.with_faces((cell == place).all(axis=1))
        tile = tile_of((place[0] + 0.5) * size, (place[1] + 0.5) * size, GEOREFERENCE)
        write_obj(folder, bake_twin(part, truth, options), f"{format_tile_name(tile)}_L1")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, np.unique(cell, axis=0)))


def choose_stations(district: District, options: StreetSceneOptions) -> tuple[Stations, Stations]:
    """Stations every `spacing_m` near the middle, and left-out ones midway between neighbours of one street.

    Half of the left-out ones stand in junctions where there are enough, the others are spread evenly. None is nearer to
    a known one than a quarter of the spacing.

    Raises:
        InputError: too few stations for what is asked.
    """
    x0, y0, x1, y1 = district.bounds
    middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2])

    def near(stations: Stations, reach: float) -> Stations:
        return stations.subset(np.abs(stations.position[:, :2] - middle).max(axis=1) <= reach)

    step, height = options.spacing_m, options.camera_height_m
    known = near(district.street_path(step, height_m=height), options.reach_m)
    between = near(district.street_path(step, start_m=step / 2, height_m=height, lateral_m=1.0), options.reach_m)
    gap = np.linalg.norm(between.position[:, None, :2] - known.position[None, :, :2], axis=2)
    gap[between.street[:, None] != known.street[None]] = np.inf
    flanked = (gap < 0.5 * step + 1.0).sum(axis=1) >= 2
    apart = np.linalg.norm(between.position[:, None, :2] - known.position[None, :, :2], axis=2)
    anywhere = apart.min(axis=1, initial=np.inf)
    between = between.subset(flanked & (anywhere > 0.25 * step))  # a crossing street's picture may stand too near
    if len(between) < options.n_left_out or len(known) < options.n_views:
        raise InputError(f"spacing {step} m and reach {options.reach_m} m leave {len(known)} panoramas with "
                         f"{len(between)} places between them; {options.n_left_out} are to be left out",
                         where="street scene",
                         mend="Widen reach_m, narrow spacing_m, or leave out fewer")
    junctions, others = np.flatnonzero(between.is_junction), np.flatnonzero(~between.is_junction)
    chosen = _spread(junctions, options.n_left_out // 2)
    chosen = np.r_[chosen, _spread(others, options.n_left_out - len(chosen))]
    return known, between.subset(np.sort(chosen))


def _spread(index: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the indices, evenly spread."""
    return index if len(index) <= count else index[np.linspace(0, len(index) - 1, count).round().astype(int)]


def write_panoramas(folder, known: Stations, left_out: Stations, truth, look, options: StreetSceneOptions) -> None:
    """`panos.txt`, `panoramas/` and `left_out/`."""
    camera = PanoramaCamera(options.panorama_width, options.panorama_width // 2)
    ids = {"panoramas": [f"city{options.city.seed:02d}-{i:04d}" for i in range(len(known))],
           "left_out": [f"left-out-{i:04d}{'-junction' * bool(j)}" for i, j in enumerate(left_out.is_junction)]}
    for name, stations in (("panoramas", known), ("left_out", left_out)):
        for pano_id, position, heading in zip(ids[name], stations.position, stations.heading, strict=True):
            picture = folder / name / f"{pano_id}.jpg"
            write_jpeg(picture, render(truth, camera, poses.pose_from_heading(position, heading), look).rgb)
            write_sidecar(picture, _street_view(position, float(np.degrees(heading)), 0.0, 360.0, "panorama"))
    lat, lon = model_to_lonlat(known.position[:, :2], GEOREFERENCE)
    write_panos(folder / "panos.txt",
                PanoTable(tuple(ids["panoramas"]), lat, lon, known.position[:, 0], known.position[:, 1]))


def _street_view(position, heading_deg: float, pitch_deg: float, fov_deg: float, camera: str) -> StreetView:
    x, y, z = (float(v) for v in position)
    return StreetView(tuple(tile_of(x, y, GEOREFERENCE)), x, y, fov_deg, heading_deg % 360.0, pitch_deg, z,
                      camera=camera)


def write_street_views(folder, known: Stations, truth, given: RayScene, look, options: StreetSceneOptions) -> None:
    """`street_views/` under the provider's pose, `picks/`, and the true poses."""
    rng = np.random.default_rng([options.city.seed, 2])
    camera = PinholeCamera.from_fov(FOV, options.view_size, options.view_size)
    true_poses = {}
    for number, index in enumerate(_spread(np.flatnonzero(~known.is_junction), options.n_views)):
        heading = known.heading[index] + rng.uniform(-0.6, 0.6)
        true_pose = poses.pose_from_heading(known.position[index], heading, np.radians(rng.uniform(2, 9)))
        stated = provider_pose(true_pose, rng)
        angles = [float(np.degrees(a)) for a in poses.heading_pitch_roll(stated)]
        view = _street_view(poses.camera_centre(stated), angles[0], angles[1], 90.0, "pinhole")
        picture = folder / "street_views" / format_street_view_name(view)
        write_jpeg(picture, render(truth, camera, true_pose, look).rgb)
        write_sidecar(picture, view)
        annotator = options.picking if number % 2 else replace(options.picking, wrong_pairs=0)
        picks = simulate_picks(picture.name, truth, given, camera, true_pose, stated, rng, annotator)
        write_picks(folder / "picks" / f"{picture.stem}.json", picks)
        true_poses[picture.name] = true_pose.tolist()
    write_text(folder / "truth" / "poses.json", json.dumps(true_poses, indent=1) + "\n")


def write_top_view(folder: Path, district: District, look: RenderOptions, gsd_m: float) -> None:
    """`topview.tif`, and exact height and class of the true city at the same pixels."""
    x0, y0, x1, y1 = district.bounds
    camera = NadirCamera(gsd_m, round((x1 - x0) / gsd_m), round((y1 - y0) / gsd_m))
    top = district.mesh.bounds[1, 2] + 10.0
    pose = poses.nadir_pose(np.array([(x0 + x1) / 2, (y0 + y1) / 2, top]))
    colour = render(district.scene, camera, pose, look).rgb
    corner = (x0, y1)
    write_geotiff(folder / "topview.tif", colour, corner, gsd_m, GEOREFERENCE)
    write_geotiff(folder / "truth" / "dsm.tif", district.dsm(gsd_m), corner, gsd_m, GEOREFERENCE, nodata=-9999.0)
    write_geotiff(folder / "truth" / "labels.tif", district.semantic_map(gsd_m), corner, gsd_m, GEOREFERENCE,
                  classes=district.mesh.classes)
