"""What a data set's manifest says how many there are."""

from __future__ import annotations

from rsnb.data.manifest import manifest_names, read_manifest


def published_counts(name: str) -> dict[str, int]:
    """{what: how many}; empty for a format without a manifest."""
    return dict(read_manifest(name).known_counts) if name in manifest_names() else {}
