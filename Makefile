# Everything here runs on a machine with make and Python 3.11 or newer.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
JOBS   ?= $(shell nproc 2>/dev/null || echo 2)

# make run SOURCE=DIR [IMAGE='img.%05d.png' MINZ=0 MAXZ=59] [OUTPUT=DIR] [ARGS='--set clip_limit=0']
SOURCE ?=
IMAGE  ?=
MINZ   ?=
MAXZ   ?=
ARGS   ?=
DATA     ?=
SECTIONS ?=
BUCKET ?=
SAMPLE := run/sample
# make images REGISTRY=europe-docker.pkg.dev/PROJECT/fibstack [BUILD_ARGS='--network=host']
VERSION    := $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
REGISTRY   ?= fibstack
TAG        ?= $(VERSION)
BASE_IMAGE ?= python:3.11-slim-bookworm
BUILD_ARGS ?=
# Where the code is published, for the images' labels: the remote of this checkout if it has an address on the web.
SOURCE_URL ?= $(shell git config remote.origin.url | sed -nE \
    's,^https://[^@/]*@,https://,; s,^ssh://([^@/]*@)?([^/:]+)/,https://\2/,; s,^[^@/:]+@([^:/]+):,https://\1/,; \
    s,\.git$$,,; /^https:/p')
# Not on the base: a new commit would build all anew that is built on it.
LABELS = --label org.opencontainers.image.revision=$$(git rev-parse HEAD) \
    $(addprefix --label org.opencontainers.image.source=,$(SOURCE_URL))
STEPS = $(shell $(PYTHON) -c 'from components.shared.steps import STEPS; print(*STEPS)')
OVERLAYS := manifests/gke/spot manifests/gke/on-demand manifests/gke/local-volume manifests/aws/eks \
	manifests/aws/own-server
EMPTY  :=
BLANK  := $(EMPTY) $(EMPTY)
OUTPUT ?= run/$(if $(SOURCE),$(notdir $(abspath $(subst $(BLANK),_,$(SOURCE)))),volume)

# A word of a shell, with apostrophes in it.
quoted = '$(subst ','\'',$(1))'
# What is not given, the folder tells.
GIVEN = $(if $(IMAGE),--image $(call quoted,$(IMAGE))) $(if $(MINZ),--minz $(MINZ)) $(if $(MAXZ),--maxz $(MAXZ))

.DEFAULT_GOAL := help
.PHONY: help setup run design view test reliability test-s3 test-readers test-cluster live check format benchmark-alignment benchmark-exact-axes \
        benchmark-pyramid benchmark-end-to-end benchmark-scale benchmark-starts mutants fuzz manifests overlays changelog sbom bad-input images push pictures lock clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/run.stamp ## Create the environment that runs the pipeline

run: $(VENV)/run.stamp ## Align a sample stack, or the slices in a folder: SOURCE=DIR; of several series IMAGE='img.%05d.png'
ifeq ($(SOURCE),)
	@test -f $(SAMPLE)/truth.json || $(BIN)/fibstack sample $(SAMPLE) --workers $(JOBS)
	@$(BIN)/fibstack run $(SAMPLE)/run.yaml --output $(call quoted,$(OUTPUT)) --jobs $(JOBS) $(ARGS)
	@$(BIN)/fibstack score $(call quoted,$(OUTPUT)) $(SAMPLE)/truth.json
else
	@$(BIN)/fibstack run --source $(call quoted,$(SOURCE)) --output $(call quoted,$(OUTPUT)) --jobs $(JOBS) $(GIVEN) $(ARGS)
endif

design: $(VENV)/run.stamp ## Say what lies in a folder of slices, how long a run takes, and what looks wrong: SOURCE=DIR
	@test -n $(call quoted,$(SOURCE)) || { echo "error: SOURCE must be given. Use make design SOURCE=DIR" >&2; exit 2; }
	@$(BIN)/fibstack design --source $(call quoted,$(SOURCE)) --output $(call quoted,$(OUTPUT)) $(GIVEN) $(ARGS)

view: $(VENV)/run.stamp ## Look at the sample's volume in neuroglancer, or at yours: SOURCE=DIR or OUTPUT=DIR
	@$(BIN)/fibstack view $(call quoted,$(OUTPUT))

# One process for each core; the tests of a file share one, and the quick files are first.
test: $(VENV)/dev.stamp ## Run the tests
	$(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --durations=30 --ignore tests/cluster

reliability: $(VENV)/dev.stamp ## Run the tests among faults and kills with every seed, and print their figures
	RELIABILITY=full $(BIN)/pytest -n $(JOBS) --dist loadfile tests/reliability

# Real servers of S3, which Go builds once: versitygw in minutes, weed (SeaweedFS) in a quarter of an hour.
S3_SERVER ?= build/s3/versitygw
VERSITYGW := github.com/versity/versitygw@v1.8.0
SEAWEEDFS := github.com/seaweedfs/seaweedfs@v0.0.0-20261109003541-7506e5f91cd6
GO ?= $(shell command -v go || echo /usr/local/go/bin/go)

build/s3/versitygw:
	@mkdir -p $(@D)
	GOBIN=$(abspath $(@D)) GOFLAGS='-p=2 -buildvcs=false' $(GO) install $(subst @,/cmd/versitygw@,$(VERSITYGW))

# Its module names another in place of one that it needs, so it is built as a dependency.
build/s3/weed:
	@mkdir -p $(@D)/module
	cd $(@D)/module && rm -f go.mod go.sum && export GOFLAGS='-p=2 -buildvcs=false -mod=mod' && $(GO) mod init server && \
	    $(GO) mod edit -require $(SEAWEEDFS) -replace github.com/tyler-smith/go-bip39=github.com/cosmos/go-bip39@v1.0.0 && \
	    $(GO) build -o ../weed $(firstword $(subst @, ,$(SEAWEEDFS)))/weed

# make test-s3; make test-s3 S3_SERVER=build/s3/weed; every seed: RELIABILITY=full make test-s3
test-s3: $(VENV)/dev.stamp $(S3_SERVER) ## Run all tests of s3:// on a real server: S3_SERVER=build/s3/weed for SeaweedFS
	S3_SERVER=$(abspath $(S3_SERVER)) $(BIN)/pytest -n $(JOBS) --dist loadfile -k s3 --ignore tests/cluster $(ARGS)

# Their programs pin what ours do not, so they have an environment of their own.
test-readers: $(VENV)/dev.stamp build/readers/stamp ## Open volumes with napari, webknossos and validators of OME-Zarr
	$(BIN)/pytest -n 0 tests/readers $(ARGS)

build/readers/stamp: requirements/readers.txt $(BIN)/uv
	@echo "installing the locked dependencies of requirements/readers.txt (a minute, once)"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(@D)
	@UV_SYSTEM_CERTS=1 VIRTUAL_ENV=$(@D) $(BIN)/uv pip install --quiet --require-hashes -r requirements/readers.txt
	@touch $@

test-cluster: $(VENV)/dev.stamp ## Run the sample on the cluster for tests that KUBECONFIG names, docs/gke.md
	$(BIN)/pytest -n 0 tests/cluster $(ARGS)

# make live BUCKET=gs://a-bucket-of-yours or s3://..., with the credentials of 'gcloud auth application-default login' or of AWS
live: $(VENV)/dev.stamp ## Run the store's tests and a small run against the real service: BUCKET=gs://... or s3://...
	@test -n '$(BUCKET)' || { echo "error: a bucket must be given. Use make live BUCKET=gs://... or s3://..."; exit 2; }
	FIBSTACK_LIVE='$(BUCKET)' $(BIN)/pytest -k live tests/components/shared/storage/test_storage.py tests/reliability/test_live.py

check: $(VENV)/dev.stamp ## Lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/hadolint images/*/Dockerfile

format: $(VENV)/dev.stamp ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmark-alignment: $(VENV)/dev.stamp ## Compare the alignment with its peers: DATA='DIR DIR' SECTIONS=DIR
	@$(BIN)/python -m benchmarks.alignment $(addprefix --data ,$(DATA)) $(addprefix --sections ,$(SECTIONS)) $(ARGS)

benchmark-exact-axes: $(VENV)/dev.stamp ## Compare the alignment with its peers on exact axes: DATA='CUBE CUBE'
	@$(BIN)/python -m benchmarks.exact_axes $(DATA) $(ARGS)

benchmark-pyramid: $(VENV)/dev.stamp ## Compare the pyramid and the tiles with their peers: ARGS=--quick
	@$(BIN)/python -m benchmarks.pyramid $(ARGS)

benchmark-end-to-end: $(VENV)/dev.stamp ## Measure CPU and memory of the whole pipeline as stacks grow: ARGS=--quick
	@$(BIN)/python -m benchmarks.end_to_end $(ARGS)

benchmark-starts: $(VENV)/dev.stamp ## Measure what programs take to start: ARGS=--quick
	@$(BIN)/python -m benchmarks.starts $(ARGS)

benchmark-scale: $(VENV)/dev.stamp ## Plan the largest stacks and say what running them takes: ARGS=--quick
	@$(BIN)/python -m benchmarks.scale $(ARGS)

mutants: $(VENV)/dev.stamp ## Count how many of 200 planted errors the tests find, in about an hour: ARGS='align --lines 10'
	@nice $(BIN)/python -m tests.mutants --jobs $(JOBS) $(ARGS)

fuzz: $(VENV)/dev.stamp ## Read damaged files and answers at the four borders for an hour: ARGS='pictures --seconds 600'
	@nice $(BIN)/python -m tests.fuzz $(ARGS)

manifests: $(VENV)/dev.stamp ## Write anew what is generated: compiled pipelines, schemas, reference pages
	$(BIN)/fibstack compile --target kfp
	$(BIN)/fibstack compile --target vertex
	$(BIN)/fibstack compile --target argo
	$(BIN)/python -m manifests.overlays $(OVERLAYS)
	$(BIN)/python -m manifests.iam_policies manifests/aws/policies
	$(BIN)/python -m docs.schemas manifests/schemas
	$(BIN)/python docs/reference.py docs
	$(BIN)/python -m docs.contracts
	$(BIN)/python -m docs.tiff_tags
	$(BIN)/python -m docs.running_again

overlays: $(VENV)/run.stamp ## Write the patches of manifests/gke anew from their settings.toml
	@$(BIN)/python -m manifests.overlays $(OVERLAYS)

changelog: $(VENV)/dev.stamp ## Move the notes of changes/ to CHANGELOG.md
	$(BIN)/python -m docs.changelog

sbom: $(BIN)/uv ## List what the command and each image hold, as CycloneDX, in build/sbom
	mkdir -p build/sbom
	for lock in run images/base $(STEPS:%=images/%); do UV_SYSTEM_CERTS=1 PYTHONWARNINGS=ignore \
	    $(BIN)/uv run --quiet --isolated --no-project --with cyclonedx-bom==7.5.0 cyclonedx-py requirements \
	    requirements/$$lock.txt --pyproject pyproject.toml --output-reproducible \
	    -o build/sbom/$$(basename $$lock).cdx.json || exit 1; done

bad-input: $(VENV)/dev.stamp ## Write docs/bad-input.md anew: every mistake and its sentence
	$(BIN)/python -m tests.e2e.bad_input_guide

images: ## Build the images of the six steps: REGISTRY, TAG, BASE_IMAGE, BUILD_ARGS
	docker build $(BUILD_ARGS) -f images/base/Dockerfile -t $(REGISTRY)/base:$(TAG) \
	    --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg VERSION=$(VERSION) .
	for step in $(STEPS); do docker build $(BUILD_ARGS) $(LABELS) -f images/$$step/Dockerfile \
	    -t $(REGISTRY)/$$step:$(TAG) --build-arg BASE=$(REGISTRY)/base:$(TAG) . || exit 1; done

# The digest of the base image is known once it has been pulled from a registry: a tag may name another image later.
BASE_DIGEST = $$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' $(BASE_IMAGE) 2>/dev/null | head -1)

push: images ## Push the images; their digests go to images/pushed.toml, which --settings takes
	for step in $(STEPS); do docker push --quiet $(REGISTRY)/$$step:$(TAG) || exit 1; done
	{ printf '# Built on %s %s\n' '$(BASE_IMAGE)' "$(BASE_DIGEST)"; \
	    printf 'registry = "%s"\ntag = "%s"\n\n[digests]\n' '$(REGISTRY)' '$(TAG)'; for step in $(STEPS); do \
	    docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' $(REGISTRY)/$$step:$(TAG) | \
	    sed -n "s|^$(REGISTRY)/$$step@\(.*\)|$$step = \"\1\"|p"; done; } > images/pushed.toml
	@cat images/pushed.toml

pictures: run ## Make the pictures of README.md anew
	$(BIN)/python docs/images/make.py $(OUTPUT) docs/images/sample-section.png

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-header

lock: $(VENV)/dev.stamp ## Resolve the dependencies anew into requirements/
	echo uv | $(LOCK) - -o requirements/uv.txt
	$(LOCK) pyproject.toml requirements/build.in --extra dev -o requirements/dev.txt
	$(LOCK) requirements/peers.in -o requirements/peers.txt
	$(LOCK) requirements/readers.in -o requirements/readers.txt
	$(LOCK) pyproject.toml requirements/build.in --extra submit --extra step --extra view \
	    -c requirements/dev.txt -o requirements/run.txt
	$(LOCK) requirements/build.in -c requirements/dev.txt -o requirements/build.txt
	$(LOCK) pyproject.toml --extra base -c requirements/dev.txt -o requirements/images/base.txt
	for step in $(STEPS); do $(LOCK) pyproject.toml --extra base --extra $$step \
	    -c requirements/dev.txt -o requirements/images/$$step.txt || exit 1; done

clean: ## Remove the environment, caches and runs
	rm -rf $(VENV) run build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(BIN)/uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "error: Python must be 3.11 or newer; got $$($(PYTHON) --version). Use make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	    { echo "error: Python must have venv. On Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

# The locked dependencies first, then the project itself without asking for any: setup.py compiles with what is there.
UV_INSTALL := UV_SYSTEM_CERTS=1 VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet
$(VENV)/%.stamp: requirements/%.txt pyproject.toml setup.py components/tile/bspline.c $(BIN)/uv
	@echo "installing the locked dependencies of requirements/$*.txt (a minute, once)"
	@$(UV_INSTALL) --require-hashes -r requirements/$*.txt
	@$(UV_INSTALL) --no-deps --no-build-isolation -e .
	@touch $@
