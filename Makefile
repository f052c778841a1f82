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
DATA     ?=
SECTIONS ?=
SAMPLE := run/sample
OUTPUT ?= run/$(if $(SOURCE),$(notdir $(abspath $(SOURCE))),volume)

.DEFAULT_GOAL := help
.PHONY: help setup run view test check format benchmark-alignment benchmark-pyramid manifests pictures lock clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/run.stamp ## Create the environment that runs the pipeline

run: $(VENV)/run.stamp ## Align a sample stack, or your own: SOURCE=DIR IMAGE='img.%05d.png' MINZ=0 MAXZ=59
ifeq ($(SOURCE),)
	@test -f $(SAMPLE)/truth.json || $(BIN)/fibstack sample $(SAMPLE) --workers $(JOBS)
	@$(BIN)/fibstack run $(SAMPLE)/run.yaml --output $(OUTPUT) --jobs $(JOBS) $(ARGS)
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

benchmark-alignment: $(VENV)/dev.stamp ## Compare the alignment with its peers: DATA='DIR DIR' SECTIONS=DIR
	@$(BIN)/python -m benchmarks.alignment $(addprefix --data ,$(DATA)) $(addprefix --sections ,$(SECTIONS)) $(ARGS)

benchmark-pyramid: $(VENV)/dev.stamp ## Compare the pyramid and the tiles with their peers: ARGS=--quick
	@$(BIN)/python -m benchmarks.pyramid $(ARGS)

manifests: $(VENV)/dev.stamp ## Compile the pipeline and the schemas anew into manifests/
	$(BIN)/fibstack compile --output manifests/align-stack.kfp.yaml
	$(BIN)/python -m components.shared.schemas manifests/schemas

pictures: run ## Make the pictures of README.md anew
	$(BIN)/python docs/images/make.py $(OUTPUT) docs/images/sample-section.png

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-header

lock: $(VENV)/dev.stamp ## Resolve the dependencies anew into requirements/
	echo uv | $(LOCK) - -o requirements/uv.txt
	$(LOCK) pyproject.toml requirements/build.in --all-extras -o requirements/dev.txt
	$(LOCK) requirements/peers.in -o requirements/peers.txt
	$(LOCK) pyproject.toml requirements/build.in --extra submit --extra step --extra view \
	    -c requirements/dev.txt -o requirements/run.txt

clean: ## Remove the environment, caches and runs
	rm -rf $(VENV) run build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: Python must be 3.11 or newer; got $$($(PYTHON) --version). Use make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	    { echo "error: Python must have venv. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

# The locked dependencies first, then the project itself without asking for any.
UV_INSTALL := UV_SYSTEM_CERTS=1 VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet
$(VENV)/%.stamp: requirements/%.txt pyproject.toml $(BIN)/uv
	@echo "installing the locked dependencies of requirements/$*.txt (a minute, once)"
	@$(UV_INSTALL) --require-hashes -r requirements/$*.txt
	@$(UV_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@
