"""Runs the code cells of a notebook in this process, as a script would: for tests that change or spoil something."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import av
import yaml

from rsnb import runs
from rsnb.runs.parameters import read_parameters

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"


class Cells:
    """The cells of one notebook.

    Attributes:
        declared: its parameters by name.
        tiny, full: the values of those profiles.
    """

    def __init__(self, stem: str):
        self.path = FOLDER / f"{stem}.ipynb"
        self.declared = read_parameters(self.path)
        self.tiny, self.full = (yaml.safe_load((FOLDER / "params" / profile / f"{stem[:2]}.yaml").read_text()) or {}
                                for profile in ("tiny", "full"))

    def run(self, out_dir: Path, changes: dict | None = None, until: str = "", only_defaults: bool = False) -> dict:
        """Run the code cells with tiny parameters and `changes`; gives the sha256 of each file they leave.

        Args:
            until: stop before the first cell that holds this text.
            only_defaults: let the expected values of checks apply.
        """
        values = {name: p.default for name, p in self.declared.items()}
        values |= self.tiny | {"out_dir": str(out_dir)} | (changes or {})
        names: dict = {"__name__": "notebook"}
        for cell in json.loads(self.path.read_text())["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] != "code":
                continue
            if "parameters" in cell["metadata"].get("tags", []):
                names |= values
                continue
            if until and until in source:
                break
            exec(compile(source, f"{self.path.name}, cell {cell['id']}", "exec"), names)
            if "runs.start(" in source and not only_defaults:
                runs.current().defaults = False
        return digests(out_dir)


def digests(folder: Path) -> dict[str, str]:
    """{relative path: sha256} of all files below a folder; of a video its facts, since x264's bytes differ."""
    files = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
    return {name: video_facts(path) if name.endswith(".mp4") else hashlib.sha256(path.read_bytes()).hexdigest()
            for name, path in files.items()}


def video_facts(path: Path) -> str:
    """Frames and their mean brightness: x264's bytes differ now and then by a rounding."""
    with av.open(path) as file:
        frames = [frame.to_ndarray(format="gray").mean() for frame in file.decode(video=0)]
    return f"{len(frames)} frames, " + ", ".join(f"{mean:.0f}" for mean in frames)
