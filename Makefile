# Everything here runs on a machine with make and Python 3.11 or newer.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)

# make run SOURCE=DIR IMAGE='img.%05d.png' MINZ=0 MAXZ=59 [OUTPUT=DIR] [ARGS='--set clip_limit=0']
SOURCE ?=
IMAGE  ?= img.%05d.png
MINZ   ?=
MAXZ   ?=
ARGS   ?=
SAMPLE := run/sample
OUTPUT ?= run/$(if $(SOURCE),$(notdir $(abspath $(SOURCE))),volume)

.DEFAULT_GOAL := help
.PHONY: help setup run view test check format manifests lock clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/run.stamp ## Create the environment that runs the pipeline

run: $(VENV)/run.stamp ## Align a sample stack, or your own: SOURCE=DIR IMAGE='img.%05d.png' MINZ=0 MAXZ=59
ifeq ($(SOURCE),)
	@test -f $(SAMPLE)/truth.json || $(BIN)/fibstack sample $(SAMPLE) --workers $(JOBS)
	@first=$$(ls $(SAMPLE) | sed -n 's/^img\.0*\([0-9][0-9]*\)\.png$$/\1/p' | sort -n | head -1); \
	 last=$$(ls $(SAMPLE) | sed -n 's/^img\.0*\([0-9][0-9]*\)\.png$$/\1/p' | sort -n | tail -1); \
	 $(BIN)/fibstack run --source $(SAMPLE) --image 'img.%05d.png' --minz $$first --maxz $$last \
	    --output $(OUTPUT) --jobs $(JOBS) $(ARGS)
	@$(BIN)/fibstack score $(OUTPUT) $(SAMPLE)/truth.json
else
	@$(BIN)/fibstack run --source '$(SOURCE)' --image '$(IMAGE)' --minz '$(MINZ)' --maxz '$(MAXZ)' \
	    --output '$(OUTPUT)' --jobs $(JOBS) $(ARGS)
endif

view: $(VENV)/run.stamp ## Look at the volume of the last run in neuroglancer
	@$(BIN)/fibstack view $(OUTPUT)

test: $(VENV)/dev.stamp ## Run the tests
	$(BIN)/pytest

check: $(VENV)/dev.stamp ## Lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/dev.stamp ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

manifests: $(VENV)/dev.stamp ## Compile the pipeline anew into manifests/
	$(BIN)/fibstack compile --output manifests/align-stack.kfp.yaml

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-header pyproject.toml requirements/build.in

lock: $(VENV)/dev.stamp ## Resolve the dependencies anew into requirements/
	$(BIN)/pip install --quiet uv
	$(LOCK) --all-extras -o requirements/dev.txt
	$(LOCK) --extra submit --extra step --extra view -c requirements/dev.txt -o requirements/run.txt

clean: ## Remove the environment, caches and runs
	rm -rf $(VENV) run build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: Python must be 3.11 or newer; got $$($(PYTHON) --version). Use make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	    { echo "error: Python must have venv; on Debian and Ubuntu: apt install python3-venv"; exit 1; }

# The locked dependencies first, then the project itself without asking for any.
$(VENV)/%.stamp: requirements/%.txt pyproject.toml | $(VENV)/bin/pip
	@echo "installing the locked dependencies of requirements/$*.txt (a minute or two, once)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/$*.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
