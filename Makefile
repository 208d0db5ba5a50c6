# make demo   sets up .venv and runs the main job on the embedded data
# make test   sets up .venv and runs linter, type checker and tests
# make notebooks  runs the notebooks of examples/
# make docs   sets up .venv and builds the documentation into site/; a warning is an error
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && break; done)
BIN = .venv/bin

.PHONY: demo test notebooks lint types docs clean

demo: .venv/installed
	$(BIN)/preceptor demo

test: .venv/installed lint types
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m "not notebook"

notebooks: .venv/installed
	$(BIN)/python -m pytest -m notebook

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python .ci/check_names.py src benchmarks tests examples .ci

types: .venv/installed
	$(BIN)/mypy

docs: .venv/docs
	$(BIN)/mkdocs build --strict

.venv/docs: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	touch $@

.venv/installed: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found; install one, or name it: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build dist site
