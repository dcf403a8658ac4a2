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
    "meshes.tiles": "Tile TileGrid HELSINKI HELSINKI_GRID tile_of tile_bounds neighbours find_tiles find_tile_pieces "
                    "read_tiles parse_tile_name format_tile_name",
    "street.panos": "PanoTable read_panos write_panos",
    "street.streetview": "StreetView StreetViewOptions parse_street_view_name format_street_view_name "
                         "read_street_views write_sidecar",
    "street.street_scene": "StreetScenePaths locate_street_scene mesh_groups choose_rows read_poses",
    "street.picks": "Picks read_picks write_picks find_picks",
    "raster": "read_raster read_grid read_on_grid RasterGrid",
    "audit": "Audit Finding audit_dataset",
    "manifest": "Manifest ManifestFile Licence read_manifest manifest_names parse_manifest",
    "download.loopback": "LoopbackServer Fault",
    "download.plan": "FetchPlan plan_fetch",
    "download.fetch": "FetchResult fetch",
    "download.http": "download sha256_of",
    "download.unpack": "unpack",
    "multiview.views": "PosedViews",
    "multiview.dispatch": "read_posed_scene posed_scene_formats",
    "multiview.conventions": "CONVENTIONS reinterpret",
    "multiview.pose_check": "check_poses PoseReport",
    "multiview.mvsnet": "read_mvsnet",
    "multiview.exterior_orientation": "read_exterior_orientation",
    "multiview.levir_nvs": "read_levir_nvs levir_nvs_scenes",
    "multiview.whu_mvs": "read_whu_mvs whu_mvs_scenes whu_samples",
    "multiview.cross_scene": "cross_scene_samples",
    "multiview.colmap": "read_colmap",
    "multiview.transforms_json": "read_transforms_json",
    "multiview.opensfm": "read_opensfm",
    "crossview.pairs": "PairIndex",
    "crossview.cvusa": "read_cvusa",
    "crossview.cvact": "read_cvact",
    "earth.worldstrat": "WorldStratPlace read_worldstrat list_worldstrat",
    "earth.safe": "SafeProduct open_safe read_safe find_safe",
    "earth.geotiff_series": "read_series SeriesOptions",
    "scene_classification": "clear_mask class_shares",
    "stac.catalogues": "Catalogue list_collections needs_table",
    "stac.options": "SearchOptions",
    "stac.search": "SearchResult search",
    "stac.items": "item_rows item_detail read_items read_thumbnail",
    "stac.assets": "asset_of band_names",
    "stac.windows": "read_window read_onto",
    "stac.stack": "StackOptions StacStack read_stack",
    "stac.access": "Access",
    "stac.download": "download_assets",
    "stac.odata": "parse_odata search_odata",
    "providers.provider": "ImageProvider ProvidedImage",
    "providers.folder": "FolderProvider",
    "providers.mapillary": "MapillaryProvider",
    "raster_tools.composition": "compose evaluate",
    "raster_tools.stretch": "stretch percentile_limits",
    "raster_tools.histogram": "match_histogram",
    "raster_tools.crop": "crop_raster crop_stack",
    "raster_tools.vectors": "read_polygons polygons_of",
    "raster_tools.coregister": "coregister find_shift",
    "raster_tools.resample": "resample_space resample_images",
    "raster_tools.temporal": "resample_time",
    "raster_tools.terrain": "read_dem hillshade slope aspect",
}
_HOME = {name: module for module, names in _NAMES.items() for name in names.split()}
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
