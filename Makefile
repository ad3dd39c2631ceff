# Needs only make and Python 3.11 to 3.13; the targets make the virtual environment .venv themselves.

PYTHON ?= $(shell python3.11 -c "" 2>/dev/null && echo python3.11 || echo python3)
RUN_ARGS ?= --params quick:true
PYTEST_ARGS ?=
TORCH := 2.13.0

# The stamp appears in .venv once everything is installed, and holds the folder it was made for: a
# copied or moved project, or a Python that is gone, means a new environment.
STAMP := .venv/ready
BIN := .venv/bin/python -m
PIP_INSTALL := -m pip install -qq --no-compile --disable-pip-version-check
ifneq ($(shell .venv/bin/python -c "" 2>/dev/null && cat $(STAMP) 2>/dev/null),$(shell pwd -P))
$(STAMP): remake
endif

.PHONY: help run test test-docs test-faults docs coverage lint lock clean remake
.DEFAULT_GOAL := help

help:  ## Show this list.
	@awk -F ":.*## " '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

run: $(STAMP)  ## Quick run on the embedded sample; RUN_ARGS= for the full one.
	@$(BIN) kedro run $(RUN_ARGS)

# One thread in each worker: more only compete for the same cores.
test: $(STAMP)  ## Tests; PYTEST_ARGS="tests/metrics -k dice" for some of them.
	@OMP_NUM_THREADS=1 $(BIN) pytest -n auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

test-docs: docs  ## Run the commands of the documentation, and build its site.
	@OMP_NUM_THREADS=1 $(BIN) pytest -m docs tests/test_docs.py $(PYTEST_ARGS)

test-faults: $(STAMP)  ## Long runs under faults and fuzzing.
	@OMP_NUM_THREADS=1 $(BIN) pytest -m faults -n auto --maxprocesses 4 $(PYTEST_ARGS)

coverage: $(STAMP)  ## All tests, and which lines no test runs: build/coverage/index.html.
	@OMP_NUM_THREADS=1 $(BIN) pytest -n auto --maxprocesses 4 --dist loadfile --cov --cov-report=term:skip-covered \
		--cov-report=html:build/coverage $(PYTEST_ARGS)

docs: $(STAMP)  ## The documentation as a site: build/site/index.html.
	@.venv/bin/python $(PIP_INSTALL) -c requirements.lock --no-build-isolation -e ".[docs]"
	@NO_MKDOCS_2_WARNING=1 $(BIN) mkdocs build --quiet
	@echo "Documentation: build/site/index.html"

lint: $(STAMP)  ## ruff and mypy.
	@$(BIN) ruff check .
	@$(BIN) ruff format --check .
	@$(BIN) mypy

$(STAMP): pyproject.toml requirements.lock
	@$(call make_venv,.venv)
	@echo "Installing into .venv (once; a few minutes, 1.5 GB) ..."
	@.venv/bin/python $(PIP_INSTALL) -c requirements.lock setuptools
	@.venv/bin/python $(PIP_INSTALL) -c requirements.lock --no-build-isolation -e ".[dev]"
	@pwd -P > $(STAMP)

lock:  ## Write requirements.lock anew, with the newest versions pyproject.toml allows.
	@$(call make_venv,build/lock)
	@build/lock/bin/python $(PIP_INSTALL) "torch==$(TORCH)" -e ".[dev,docs]"
	@build/lock/bin/python -m pip check
	@build/lock/bin/python -m pip freeze --all --exclude-editable > build/lock/freeze
	@if grep -iE "^(nvidia|cuda|triton)" build/lock/freeze; then \
		echo "These belong to a CUDA build of torch: use a package index with CPU builds."; exit 1; fi
	@{ echo "# What .venv is made from (pip install -c); written by: make lock"; \
		sed -e '/^pip==/d' -e 's/^\(torch==[^+]*\)+.*/\1/' build/lock/freeze; } > build/lock/new
	@mv build/lock/new requirements.lock
	@rm -rf build/lock
	@echo "requirements.lock is written; the next make re-makes .venv from it."

clean:  ## Remove .venv and caches; data and results stay.
	@rm -rf $(STAMP) .venv build .mypy_cache .pytest_cache .ruff_cache .hypothesis src/*.egg-info
	@find src tests -name __pycache__ -prune -exec rm -rf {} +

define make_venv
$(PYTHON) -c "import sys; sys.exit((3, 11) > sys.version_info[:2] or sys.version_info[:2] > (3, 13))" || { \
	echo "vesselrl needs Python 3.11 to 3.13, and '$(PYTHON)' is not one:" \
		"name one, as in  make run PYTHON=/usr/bin/python3.11" >&2; exit 1; }; \
$(PYTHON) -m venv --clear $(1) || { \
	echo "No virtual environment: on Debian and Ubuntu it needs the package python3-venv." >&2; exit 1; }
endef
