# Two commands do all the set-up: `make demo` and `make test`. Both may be run again, and from anywhere with make -C.
ROOT := $(dir $(abspath $(lastword $(MAKEFILE_LIST))))
PYTHON ?= python3
VENV := $(ROOT).venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo test quick check setup lock clean
.DEFAULT_GOAL := help

help:
	@echo "make setup   make the environment alone"
	@echo "make demo    make the environment, train on the embedded pictures, evaluate, predict, draw attention maps"
	@echo "make test    make the environment, run everything that CI runs"
	@echo "make quick   formatting, types, layers and the fast tests"
	@echo "make lock    write requirements.lock anew from pyproject.toml"
	@echo "make clean   remove the environment, caches and the demo's output"

# Torch is installed first and pinned: left to another package's wish, a build of several GB may arrive.
$(READY): $(ROOT)requirements.lock $(ROOT)pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else \
	  f"Perceptio needs Python 3.11, 3.12 or 3.13; $(PYTHON) is {v[0]}.{v[1]}. Say which: make PYTHON=python3.12 ..")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^torch==' $(ROOT)requirements.lock)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(ROOT)requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e $(ROOT)
	@touch $(READY)

setup: $(READY)

demo: $(READY)
	@cd $(ROOT) && $(BIN)/python scripts/demo.py

# The hooks of .pre-commit-config.yaml over all files: formatting, types, layers.
check: $(READY)
	cd $(ROOT) && SKIP=fast-tests $(BIN)/pre-commit run --all-files --show-diff-on-failure

# A file of tests stays in one process, for its tests share what is costly to make (a trained run).
TESTS := $(BIN)/python -m pytest -q -n logical --maxprocesses 8 --dist loadscope

quick: check
	cd $(ROOT) && $(TESTS) -m "not slow"

test: check
	cd $(ROOT) && $(TESTS)

# Resolves pyproject.toml with all extras in a fresh environment and writes down what came.
lock:
	rm -rf $(ROOT).cache/lock-venv
	$(PYTHON) -m venv $(ROOT).cache/lock-venv
	$(ROOT).cache/lock-venv/bin/python -m pip install --quiet "$$(grep '^torch==' $(ROOT)requirements.lock)"
	$(ROOT).cache/lock-venv/bin/python -m pip install --quiet "hatchling>=1.27" "editables>=0.5" "$(ROOT)[dev]"
	$(PYTHON) $(ROOT)scripts/write_lock.py $(ROOT).cache/lock-venv/bin/python > $(ROOT)requirements.lock.new
	mv $(ROOT)requirements.lock.new $(ROOT)requirements.lock

clean:
	rm -rf $(VENV) $(ROOT).mypy_cache $(ROOT).ruff_cache $(ROOT).pytest_cache $(ROOT).hypothesis $(ROOT)demo-out
