"""Readers of pictures with known cameras, one module a format, all giving `views.PosedViews`."""
