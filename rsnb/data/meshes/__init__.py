"""Mesh formats: each reader gives a `TexturedMesh`; `read_mesh` picks it by the file's suffix."""
