"""What several files of notebook tests share."""

from __future__ import annotations

import pytest
from density_cells import default_pairs


@pytest.fixture(scope="module")
def city(tmp_path_factory):
    """Folder and options of the pairs of notebook 04's tests."""
    with default_pairs(tmp_path_factory.mktemp("city")) as found:
        yield found
