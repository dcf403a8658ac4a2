"""Readers of Earth-observation series on disk: WorldStrat, Sentinel-2 SAFE products, folders of dated GeoTIFFs."""
