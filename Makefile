# Everything below needs Python 3.11 or later with pip and venv, git and make. `make demo` and `make test` set up .venv themselves.

PYTHON ?= python3
PYTEST_ARGS ?= -n 2
VENV := .venv
BIN := $(VENV)/bin
CODE := graphopt benchmarks plugins scripts tests
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test lint style types layers format check bench docs wheel clean

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

demo: $(VENV)/.core  ## install, then optimize the model that ships with the package
	$(BIN)/graphopt demo

test: lint docs wheel check  ## lint, types, layers, the documentation, the wheel job and the whole test suite

check: $(VENV)/.dev
	$(BIN)/pytest $(PYTEST_ARGS)

lint: style types layers  ## ruff, mypy --strict, import layers

style: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## rewrite the code in its one form
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

bench: $(VENV)/.bench  ## measure graphopt beside the other tools; results in benchmarks/out
	mkdir -p benchmarks/out
	$(BIN)/python -m benchmarks.start
	$(BIN)/python -m benchmarks.growth
	$(BIN)/python -m benchmarks.memory

docs: $(VENV)/.dev  ## build the documentation into build/docs; a warning or a link to nowhere is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

wheel: $(VENV)/.dev  ## build the wheel, install it in a clean environment, run the demo from an empty folder
	$(BIN)/python scripts/check_wheel.py

clean:  ## remove the environment and everything built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find $(wildcard $(CODE)) -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for the environment and one for each set of packages; all are renewed when pyproject.toml changes.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "graphopt needs Python 3.11 or later, \
	found %d.%d; run make PYTHON=/path/to/python3.11" % v[:2] or 0)'
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.core: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --editable .
	$(BIN)/python -m compileall -q graphopt  # an editable install leaves that to the first import
	touch $@

$(VENV)/.dev $(VENV)/.bench: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --editable '.[$(patsubst $(VENV)/.%,%,$@)]'
	touch $@
