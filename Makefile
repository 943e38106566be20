# make run [ARGS="--paths 1e5"]   simulate the built-in scenario and print its odds
# make test                       lint, types and tests
# make quick                      lint, types and the core tests, in under a minute
# make format                     format Python, C++ and CUDA sources
# make test-lowest                the tests with the lowest versions that pyproject.toml allows (Python 3.11)
# Everything is installed into .venv inside this folder. PYTHON=… picks the interpreter, EXTRAS=… the extras.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
ARGS ?=
VENV := .venv
LOWEST := .venv-lowest
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# An NVIDIA driver says which CUDA it can run; without one the CPU engines need no extra.
CUDA := $(shell nvidia-smi 2>/dev/null | sed -n 's/.*CUDA[A-Za-z ]*Version: *\([0-9][0-9]*\).*/\1/p' | head -n 1)
EXTRAS ?= $(if $(CUDA),$(if $(filter 12,$(CUDA)),cuda12,$(if $(shell [ $(CUDA) -ge 13 ] && echo yes),cuda13)))
comma := ,
# The native engine is compiled at installation: again whenever what it is made of has changed.
COMPILED := setup.py $(wildcard sim/compiled/*.py) $(wildcard kernels/*)
# What option chains and fits need is small enough to come with every installation.
RUN_EXTRAS := book$(comma)fit$(if $(EXTRAS),$(comma)$(EXTRAS))
TEST_EXTRAS := test$(comma)lint$(comma)bench$(comma)$(RUN_EXTRAS)

.PHONY: help run test quick test-lowest lint format bench clean

help:
	@sed -n 's/^# make/make/p' $(firstword $(MAKEFILE_LIST))

run: $(VENV)/installed
	@$(BIN)/gammawall run $(ARGS)

test: $(VENV)/installed-test lint
	$(BIN)/python -m pytest -n auto --maxprocesses 8 $(ARGS)

test-lowest:
	rm -rf $(LOWEST)
	@PIP_CONSTRAINT=tests/constraints-lowest.txt $(MAKE) --no-print-directory VENV=$(LOWEST) \
	  TEST_EXTRAS=test$(comma)book$(comma)fit$(comma)cluster$(comma)parquet $(LOWEST)/installed-test
	$(LOWEST)/bin/python -m pytest -n auto --maxprocesses 8 $(ARGS)

# What a change of the model, the kernels or the numbers breaks first.
CORE := tests/test_rooms.py tests/test_problems.py tests/test_documents.py tests/market tests/kernels_numpy tests/odds \
  tests/plan/test_engine_plan.py tests/plan/test_outcomes.py tests/run/test_gold_counts.py tests/kernels/test_twins.py
quick: $(VENV)/installed-test lint
	$(BIN)/python -m pytest -q -n auto --maxprocesses 8 $(CORE) $(ARGS)

CPP := $(wildcard kernels/* tests/support/*.hpp benchmarks/*.cuh benchmarks/*.cpp benchmarks/*.cu)
lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(CPP)
	$(BIN)/mypy

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix --select I .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(CPP)

bench: $(VENV)/installed-test
	$(BIN)/python benchmarks/engines.py $(ARGS)
	$(BIN)/python benchmarks/steps_per_session.py

clean:
	rm -rf $(VENV) $(LOWEST) build dist *.egg-info sim/engines/_native_* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/python-ready:
	@command -v "$(PYTHON)" >/dev/null || { echo "make: $(PYTHON) not found." \
	  "Install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: $(PYTHON) is $$("$(PYTHON)" --version 2>&1), but 3.11 or newer is needed." \
	  "Name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "make: $(PYTHON) cannot make virtual environments." \
	  "Install its venv package, e.g. apt install python3-venv" >&2; exit 1; }
	@echo "making $(VENV) with $$("$(PYTHON)" --version)" >&2
	@"$(PYTHON)" -m venv $(VENV)
	@touch $@

# Done again when pyproject.toml, and with it perhaps the dependencies, has changed.
$(VENV)/installed: pyproject.toml $(COMPILED) $(VENV)/python-ready
	@echo "installing gammawall into $(VENV) with $(RUN_EXTRAS)" >&2
	@$(PIP) install --editable ".[$(RUN_EXTRAS)]"
	@touch $@

$(VENV)/installed-test: pyproject.toml $(COMPILED) $(VENV)/python-ready
	@echo "installing gammawall into $(VENV) with $(TEST_EXTRAS)" >&2
	@$(PIP) install --editable ".[$(TEST_EXTRAS)]"
	@touch $@ $(VENV)/installed
