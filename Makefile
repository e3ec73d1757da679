# Everything a contributor runs. Needs make, python3 (3.11 or newer) and the package registries; what it installs goes
# into .work/, which can be deleted at any time.

PYTHON ?= python3
RUNTIME ?= 3.13# of the template; another supported Python stands in for it where it is missing
BIN := .work/venv/bin
BENCH := bench-reference bench-strands bench-langgraph
TESTED := attach bench-reference emulator sam sdk-tests ministack boto3-1.35 boto3-1.40 boto3-latest docs release oldest newest

# These programs begin with Ctrl-C put off, and see to it once Python has started: until then it would be a traceback.
DEFERRED := $(shell env --block-signal=INT true 2> /dev/null && echo env --block-signal=INT)

OLD := setup failed: $(PYTHON) is Python %d.%d; 3.8 sets up, 3.11 runs: make PYTHON=/path/to/python3
SETUP := $(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 8) else "$(OLD)" % sys.version_info[:2])' && \
	$(DEFERRED) $(PYTHON) tools/environment.py

# Images for containers set this. Every Python that a command or a test starts would then compile 3,000 modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo chat page engines layer bytecode lock test test-docker bench bench-layer simulate lint format \
	docs dist release-check clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .work/venv/.ready ## the developer's environment, in .work/venv

engines: .work/engines/.ready ## the DynamoDB engines that tests run on, in .work/engines

demo: setup .work/envs/emulator/.ready ## a conversation over several cold execution environments
	@$(DEFERRED) $(BIN)/python -m tools.demo --runtime $(RUNTIME)

chat: setup .work/envs/emulator/.ready ## talk to the agent: make chat SESSION=ada
	@$(DEFERRED) $(BIN)/python -m tools.chat $(if $(SESSION),'$(subst ','\'',$(SESSION))')

page: setup .work/envs/emulator/.ready ## the same in a browser, with answers that stream
	@$(DEFERRED) $(BIN)/python -m tools.page $(ARGS)

test: setup engines $(TESTED:%=.work/envs/%/.ready) ## all tests, or some: make test ARGS="tests/unit -k head"
	@$(BIN)/python -m pytest $(ARGS)

test-docker: setup .work/envs/sam/.ready .work/envs/emulator/.ready ## sam local invoke, in containers; needs Docker
	@$(DEFERRED) $(BIN)/python -m tools.docker_events --runtime $(RUNTIME)

bench: setup engines .work/envs/emulator/.ready $(BENCH:%=.work/envs/%/.ready) ## what a turn costs, beside other stores: docs/bench.md (10 min.)
	@$(DEFERRED) $(BIN)/python -m tools.bench $(ARGS)

bench-layer: setup engines .work/envs/sam/.ready .work/envs/emulator/.ready ## what a cold start costs: docs/bench-layer.md (5 min.)
	@$(BIN)/python -m tools.bench_layer $(ARGS)

simulate: setup ## long runs of the store's simulation: make simulate ARGS="--seeds 10000 --scenario leases"
	@PYTHONHASHSEED=0 $(BIN)/python -m tests.simulation $(ARGS)

lint: setup ## style, format and types
	@$(BIN)/ruff check && $(BIN)/ruff format --check --output-format concise && $(BIN)/mypy

format: setup ## rewrite the code in the project's style
	@$(BIN)/ruff check --fix; $(BIN)/ruff format

layer: ## the layer: .work/layer/x86_64-3.13; make layer ARGS="--variant lean --arch arm64 --python 3.12"
	@$(PYTHON) tools/build_layer.py --python $(RUNTIME) $(ARGS)

lock: setup ## renew the lock files from requirements/*.in and layer/*.in
	@tools/lock.sh

bytecode: setup ## which modules of the layer are compiled: those that functions import
	@$(PYTHON) tools/build_layer.py --python $(RUNTIME)
	@$(BIN)/python -I tools/layers/record.py .work/layer/x86_64-$(RUNTIME)/python functions/agent \
		"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" > layer/bytecode.new
	@mv layer/bytecode.new layer/bytecode.txt

docs: setup .work/envs/docs/.ready ## the documentation as a site; make docs ARGS=--build only builds it, into .work/site
	@$(DEFERRED) $(BIN)/python -m tools.site $(ARGS)

dist: .work/envs/release/.ready ## the wheel and the source distribution, in .work/dist
	@rm -rf .work/dist && .work/envs/release/bin/python -m tools.release.distribution .work/dist

release-check: setup .work/envs/docs/.ready .work/envs/release/.ready .work/envs/sam/.ready ## the dry run of a release
	@$(BIN)/python -m tools.release $(ARGS)

clean: ## remove everything that was installed or built
	rm -rf .work .aws-sam

.work/venv/.ready: requirements/bootstrap.txt requirements/dev.txt layer/pyproject.toml
	@$(SETUP) dev --path .work/venv --python $(RUNTIME) --editable layer

.work/engines/.ready: requirements/engines.json | .work/venv/.ready
	@$(DEFERRED) $(BIN)/python tools/fetch_engines.py

.work/envs/%/.ready: requirements/%.txt
	@$(SETUP) $* --python $(RUNTIME)
