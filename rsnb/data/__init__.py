"""Readers: one per on-disk format, all giving the scene types of `rsnb.scenes`. They know formats, never the city.

`meshes` and `street` serve notebook 02, `multiview` 03, `crossview` 04 and 05, `earth` and `stac` 06; `manifest`,
`download` and `audit` serve all of them, `weights` renames published parameters. Listed here is what notebooks use.
"""

from __future__ import annotations

from rsnb.lazy import lazy_names

_NAMES = {
    "meshes.dispatch": "read_mesh merge_meshes",
    "meshes.reading": "ReadOptions MeshWarning",
    "meshes.obj": "read_obj",
    "meshes.ply": "read_ply",
    "meshes.gltf": "read_gltf",
    "meshes.cityjson": "read_cityjson",
    "meshes.citygml": "read_citygml",
    "meshes.class_tables": "CITY_SURFACES SUM_HELSINKI",
    "meshes.tiles": "Tile TileGrid HELSINKI HELSINKI_GRID tile_of tile_bounds neighbours find_tiles read_tiles "
                    "parse_tile_name format_tile_name",
    "street.panos": "PanoTable read_panos write_panos",
    "street.streetview": "StreetView StreetViewOptions parse_street_view_name format_street_view_name "
                         "read_street_views write_sidecar",
    "street.street_scene": "StreetScenePaths locate_street_scene mesh_groups choose_rows read_poses",
    "street.picks": "Picks read_picks write_picks find_picks",
    "raster": "read_raster",
    "audit": "Audit Finding",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
