# Needs Python 3.11 or newer and make. Everything is installed into .venv, beside this file.
# To use another interpreter: make clean; make compare PYTHON=python3.13

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Pins what is installed and, in newer releases of pip, what builds it.
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt

.PHONY: help compare test test-long experiments validation clean

help:
	@echo 'make compare       simulate every model, run it on real sockets, show how far apart they are'
	@echo '                   (for some models only: make compare ARGS="epoll select")'
	@echo 'make test          check style, types and import directions, and run the tests'
	@echo 'make test-long     the same with those tests that take long'
	@echo 'make experiments   make the committed data and figures of the experiments again'
	@echo 'make validation    the same of experiments/validation, which experiments leaves out: 20 minutes'
	@echo 'make clean         remove .venv and caches'

compare: .venv/.installed
	@$(BIN)/iosim compare $(ARGS)

test: CHOSEN := not long
test-long: CHOSEN := long or not long
test test-long: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m '$(CHOSEN)' -n logical --dist worksteal $(ARGS)

VALIDATION := experiments/validation/run.py

experiments: .venv/.installed
	@set -e; for script in $(filter-out $(VALIDATION),$(sort $(wildcard experiments/*/run.py))); do \
	  $(BIN)/python $$script $(ARGS); done

validation: .venv/.installed
	@$(BIN)/python $(VALIDATION) $(ARGS)

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are older than their sources, or gone with .venv, when there is something to install.
.venv/.installed: pyproject.toml constraints.txt $(BIN)/python
	@echo 'Installing iosim into .venv (once; about a minute)'
	@$(PIP_INSTALL) --editable .
	@touch $@

.venv/.installed-test: pyproject.toml constraints.txt $(BIN)/python
	@echo 'Installing iosim and its test tools into .venv (once; about a minute)'
	@$(PIP_INSTALL) --editable '.[test,dev]'
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo 'iosim needs Python 3.11 or newer: there is no "$(PYTHON)" here; name one with make PYTHON=...'; \
	  exit 1; } >&2
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "iosim needs Python 3.11 or newer: $(PYTHON) is $$($(PYTHON) -V 2>&1); name another with make PYTHON=..."; \
	  exit 1; } >&2
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo 'iosim needs the venv and ensurepip modules of $(PYTHON); on Debian and Ubuntu: apt install python3-venv'; \
	  exit 1; } >&2
	@$(PYTHON) -m venv --clear .venv
