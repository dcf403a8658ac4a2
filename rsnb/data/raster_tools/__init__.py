"""Processing of rasters and dated stacks: pure functions on arrays, and crops from file to file."""
