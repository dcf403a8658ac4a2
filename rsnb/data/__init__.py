"""Readers: one per on-disk format, all giving the scene types of `rsnb.scenes`. They know formats, never the city."""

from __future__ import annotations

from rsnb.lazy import lazy_names

_HOME = {
    "read_mesh": "meshes", "merge_meshes": "meshes",
    "ReadOptions": "reading", "MeshWarning": "reading",
    "read_obj": "obj", "read_ply": "ply", "read_gltf": "gltf", "read_cityjson": "cityjson",
    "read_citygml": "citygml",
    "CITY_SURFACES": "class_tables", "SUM_HELSINKI": "class_tables",
    "Tile": "tiles", "TileGrid": "tiles", "HELSINKI": "tiles", "HELSINKI_GRID": "tiles",
    "tile_of": "tiles", "tile_bounds": "tiles", "neighbours": "tiles",
    "find_tiles": "tiles", "read_tiles": "tiles", "parse_tile_name": "tiles", "format_tile_name": "tiles",
    "PanoTable": "panos", "read_panos": "panos", "write_panos": "panos",
    "StreetView": "streetview", "parse_street_view_name": "streetview", "format_street_view_name": "streetview",
    "read_street_views": "streetview", "write_sidecar": "streetview", "StreetViewOptions": "streetview",
    "locate_street_scene": "street_scene", "mesh_groups": "street_scene", "choose_rows": "street_scene",
    "read_poses": "street_scene", "StreetScenePaths": "street_scene", "read_raster": "raster",
    "Picks": "picks", "read_picks": "picks", "write_picks": "picks", "find_picks": "picks",
}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
