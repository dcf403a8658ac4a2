"""Small notebooks made on the spot: the runner is tested without any of the real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

PARAMETERS = '''seed: int = 0  # random seed
width: int = 4  # samples
rate: float = 0.5
scene: str = "068"
device: str = "auto"  # one of auto, cpu, cuda
rows: list[int] = [1, 2]
fast: bool = False
out_dir: str = ""'''


@pytest.fixture
def write_notebook(tmp_path):
    """`write_notebook(cell, cell, ..., name=...)` gives the path of a notebook with PARAMETERS and these code cells."""
    nbformat = pytest.importorskip("nbformat")

    def write(*sources: str, name: str = "90_sample", parameters: str | None = PARAMETERS) -> Path:
        v4 = nbformat.v4
        cells = [v4.new_markdown_cell("# A sample\n\nWith $a^2$.")]
        if parameters is not None:
            cells.append(v4.new_code_cell(parameters, metadata={"tags": ["parameters"]}))
        cells += [v4.new_code_cell(source) for source in sources]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        nbformat.write(notebook, path)
        return path

    return write
