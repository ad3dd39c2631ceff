# Needs only make and Python 3.11 to 3.13; the targets make the virtual environment .venv themselves.

PYTHON ?= $(shell python3.11 -c "" 2>/dev/null && echo python3.11 || echo python3)
RUN_ARGS ?= --params quick:true
PYTEST_ARGS ?=
TORCH := 2.13.0
HASHES := requirements.hashes requirements-cpu.hashes requirements-cuda.hashes
TOOLS := cyclonedx-bom==7.5.0 pip-audit==2.10.1 pip-licenses==5.5.5

# The stamp appears in .venv once everything is installed, and holds the folder it was made for: a
# copied or moved project, or a Python that is gone, means a new environment.
STAMP := .venv/ready
BIN := .venv/bin/python -m
PIP_INSTALL := -m pip install -qq --no-compile --disable-pip-version-check
PIP_INSTALL_HASHED := $(PIP_INSTALL) --require-hashes --no-deps --no-build-isolation
ifneq ($(shell .venv/bin/python -c "" 2>/dev/null && cat $(STAMP) 2>/dev/null),$(shell pwd -P))
$(STAMP): remake
endif

.PHONY: help run test test-docs test-faults docs coverage lint audit sbom licences lock clean remake
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

test-faults: $(STAMP)  ## Kill, starve and fuzz whole runs; KILLS= at random moments.
	@OMP_NUM_THREADS=1 $(BIN) pytest -n auto --maxprocesses 4 -m faults $(PYTEST_ARGS)

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

audit: build/tools/ready  ## Known vulnerabilities of the locked packages; needs the network.
	@build/tools/bin/pip-audit --disable-pip --require-hashes --strict --progress-spinner off \
		-r requirements.hashes > build/audit.txt 2>&1; code=$$?; \
	if [ $$code = 0 ] || grep -q "^Found [0-9]" build/audit.txt; then cat build/audit.txt; \
	else tail -n 1 build/audit.txt; \
		echo "Nothing was audited: the vulnerability service could not be asked (see above)." \
			"Run make audit again where it can be reached." >&2; fi; exit $$code

sbom: $(STAMP) build/tools/ready  ## build/sbom.json: all of .venv, as CycloneDX has it.
	@build/tools/bin/cyclonedx-py environment .venv/bin/python --pyproject pyproject.toml \
		--output-reproducible -o build/sbom.json

licences: $(STAMP) build/tools/ready  ## docs/licences.md: the licence of every locked package.
	@{ printf '%s\n\n%s\n\n' "# Licences of the locked packages" "As their metadata tell, UNKNOWN where they do not. Written by: make licences"; \
		build/tools/bin/pip-licenses --python .venv/bin/python --from mixed --order name \
			--format markdown --with-system --ignore-packages vesselrl pip; } > build/licences.md
	@mv build/licences.md docs/licences.md

build/tools/ready: Makefile
	@$(call make_venv,build/tools)
	@build/tools/bin/python $(PIP_INSTALL) $(TOOLS)
	@touch $@

# The hashes are those of every platform's files. What a CUDA build of torch needs is several gigabytes,
# so a CPU build goes first, where there is one.
$(STAMP): pyproject.toml $(HASHES)
	@$(call make_venv,.venv)
	@echo "Installing into .venv (once; a few minutes, 1.5 GB) ..."
	@awk '/^[^ ]/ { is_it = /^setuptools==/ } is_it' requirements.hashes \
		| .venv/bin/python $(PIP_INSTALL_HASHED) -r /dev/stdin
	@.venv/bin/python $(PIP_INSTALL_HASHED) -r requirements-cpu.hashes 2> /dev/null || true
	@.venv/bin/python $(PIP_INSTALL_HASHED) -r requirements.hashes
	@.venv/bin/python -m pip check > /dev/null \
		|| .venv/bin/python $(PIP_INSTALL_HASHED) -r requirements-cuda.hashes
	@.venv/bin/python $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	@.venv/bin/python -m pip check
	@pwd -P > $(STAMP)

lock:  ## Newest versions that pyproject.toml allows, into requirements.lock and *.hashes.
	@$(call make_venv,build/lock)
	@build/lock/bin/python $(PIP_INSTALL) --report build/lock/report "torch==$(TORCH)" \
		-e ".[dev,docs]"
	@build/lock/bin/python -m pip check
	@build/lock/bin/python -m pip freeze --all --exclude-editable > build/lock/freeze
	@if grep -iE "^(nvidia|cuda|triton)" build/lock/freeze; then \
		echo "These belong to a CUDA build of torch: use a package index with CPU builds."; exit 1; fi
	@{ echo "# Versions that were tested (pip install -c); written by: make lock"; \
		sed -e '/^pip==/d' -e 's/^\(torch==[^+]*\)+.*/\1/' build/lock/freeze; } > build/lock/new
	@mv build/lock/new requirements.lock
	@build/lock/bin/python $(PIP_INSTALL) uv
	@build/lock/bin/uv pip compile -q pyproject.toml --extra dev -c requirements.lock --universal \
		--python-version 3.11 --generate-hashes --no-annotate --no-header -o build/lock/hashes
	@for file in $(HASHES); do \
		echo "# What .venv is made from (pip install --require-hashes); written by: make lock" \
			> $$file; done
	@awk '/^[^ ]/ { is_cuda = /^(nvidia|cuda|triton)/ } \
		{ print >> ("requirements" (is_cuda ? "-cuda" : "") ".hashes") }' build/lock/hashes
	@build/lock/bin/python -c "import json; print(*('torch=={} --hash=sha256:{}'.format( \
		part['metadata']['version'], part['download_info']['archive_info']['hashes']['sha256']) \
		for part in json.load(open('build/lock/report'))['install'] \
		if part['metadata']['name'] == 'torch'))" >> requirements-cpu.hashes
	@rm -rf build/lock
	@echo "The locks are written; the next make re-makes .venv from them. Next: make licences"

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
