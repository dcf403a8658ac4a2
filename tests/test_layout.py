"""The house: who stands where, how big a module may be, what importing costs, and who watches whom."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib

import pytest

NO_NAMES = {"utils.py", "helpers.py", "misc.py", "common.py"}


@pytest.fixture(scope="module")
def sources(project):
    return sorted((project / "rsnb").rglob("*.py"))


def test_modules_are_named_after_what_they_do(sources):
    assert not [path for path in sources if path.name in NO_NAMES]


def test_modules_stay_near_300_lines(sources):
    lengths = {str(path): len(path.read_text().splitlines()) for path in sources}
    assert not {path: n for path, n in lengths.items() if n > 360}


def test_public_functions_take_at_most_eight_arguments_and_say_what_they_do(sources):
    faults = []
    for path in sources:
        if path.parent.name == "cli":  # there an argument is an option of a command
            continue
        for node in ast.parse(path.read_text()).body:
            if not isinstance(node, (ast.FunctionDef, ast.ClassDef)) or node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None and len(node.body) > 2:
                faults.append(f"{path.name}: {node.name} has no docstring")
            if isinstance(node, ast.FunctionDef) and not _is_compiled(node):
                count = len(node.args.args) + len(node.args.kwonlyargs)
                if count > 8:
                    faults.append(f"{path.name}: {node.name} takes {count} arguments")
    assert not faults


def _is_compiled(function: ast.FunctionDef) -> bool:
    """Whether numba compiles it: such a kernel takes arrays one by one, no dataclass."""
    return any("jit" in ast.unparse(decorator) for decorator in function.decorator_list)


def test_every_room_is_under_an_import_contract(project):
    contracts = tomllib.loads((project / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    watched = {module.split(".")[1] for contract in contracts for module in contract["source_modules"]}
    rooms = {path.stem for path in (project / "rsnb").iterdir() if path.is_dir() and (path / "__init__.py").exists()}
    assert rooms - {"cli"} <= watched  # the command line may use every room, and none may use it


@pytest.mark.parametrize(("modules", "absent"), [
    ("rsnb, rsnb.scenes, rsnb.errors, rsnb.geometry.poses", "torch scipy pyproj cv2 matplotlib"),
    ("rsnb.geometry, rsnb.metrics, rsnb.mesh, rsnb.data, rsnb.city, rsnb.products, rsnb.viewers, rsnb.runs",
     "torch matplotlib plotly rasterio cv2 trimesh papermill"),  # the rooms' doors are cheap
])
def test_importing_a_room_is_cheap(modules, absent):
    program = f"import sys, {modules}; print([m for m in {absent.split()!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_no_door_offers_what_a_module_behind_it_is_called(project):
    """`from rsnb.room import name` would give the function once, and the module from its first import on."""
    from importlib import import_module

    rooms = [path.parent for path in (project / "rsnb").glob("*/__init__.py")]
    inside = {room.name: {path.stem for path in room.iterdir() if path.suffix == ".py" or path.is_dir()}
              for room in rooms}
    offered = {name: set(getattr(import_module(f"rsnb.{name}"), "_HOME", ())) for name in inside}
    assert len(offered["density"]) > 50 and "volume" in inside["density"]
    assert not {name: both for name in inside if (both := inside[name] & offered[name])}


def test_everything_a_door_offers_is_there(project):
    """Each name in a lazy `__init__` resolves: a renamed function would otherwise fail at a user's first call."""
    program = (
        "import importlib, pathlib, sys\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).glob('*/__init__.py')):\n"
        "    room = importlib.import_module('rsnb.' + path.parent.name)\n"
        "    for name in getattr(room, '__all__', []): getattr(room, name)\n")
    done = subprocess.run([sys.executable, "-c", program, project / "rsnb"], capture_output=True, text=True,
                          timeout=120)
    assert done.returncode == 0, done.stderr
