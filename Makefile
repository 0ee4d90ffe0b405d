# Each target needs only Python 3.10+ and make; packages go into $(VENV), at the versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
FLAGS ?=
BIN = $(VENV)/bin
.DEFAULT_GOAL := help

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Two stamps, because only those who edit or test need the development tools. (pyproject.toml is left out: nbdev_export touches it, which is no reason to install again.)
installed = $(VENV)/installed
tools = $(VENV)/installed-dev
needs = setup.py settings.ini constraints.txt
editable = --config-settings editable_mode=compat  # else a clone called bijdiff hides the package from its parent folder

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "$$($(PYTHON) --version): expected Python 3.10 or newer: name one with make PYTHON=..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) cannot make a virtual environment: install its venv module (Debian: python3-venv)"; exit 1; }
$(installed): $(BIN)/pip $(needs)
	$(BIN)/pip install -c constraints.txt $(editable) -e .
	@touch $@
$(tools): $(BIN)/pip $(needs)
	$(BIN)/pip install -c constraints.txt $(editable) -e '.[dev]'
	@touch $(installed) $@

venv: $(installed)  ## create .venv and install the pinned packages

quickstart: $(installed)  ## train a first model on the grammar, in a few minutes on two CPU cores
	$(BIN)/bijdiff train -p preset tiny -p corpus grammar
	@echo "next: . $(VENV)/bin/activate, then bijdiff runs, bijdiff sample RUN, or make lab"

test: $(tools)  ## run all checks; FLAGS="slow cuda" adds the cells flagged slow and cuda
	$(BIN)/python tools/test.py $(FLAGS)

lab: $(installed)  ## open JupyterLab on the notebooks; LAB="--port=9999" passes options on (as root: LAB=--allow-root)
	$(BIN)/bijdiff lab -- $(LAB)

export: $(tools)  ## generate the modules of bijdiff/ from their notebooks
	$(BIN)/nbdev_export

clean-notebooks: $(tools)  ## strip the metadata that running a notebook leaves behind
	$(BIN)/nbdev_clean

readme: $(tools)  ## render README.md from nbs/index.ipynb
	$(BIN)/python tools/readme.py

wheel: $(tools)  ## build dist/bijdiff-VERSION-py3-none-any.whl
	rm -rf build
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .

clean:  ## remove what was built, except .venv and outputs
	rm -rf build dist *.egg-info bijdiff/_notebooks
	find bijdiff nbs tools -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf

.PHONY: help venv quickstart test lab export clean-notebooks readme wheel clean
