"""Satellite tiles with the street panorama taken on them: CVUSA, CVACT in its three layouts, and their index."""
