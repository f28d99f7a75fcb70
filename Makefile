# Everything a person or CI does with the project. `make help` lists it.
PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= 2
SUITES := browser emulator end_to_end kcl outage simulation
BIN    := $(VENV)/bin
LOCK   := requirements.lock
PIP     = $(BIN)/python -m pip --disable-pip-version-check --quiet

PYTEST  = $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder
COVERAGE = --cov --cov-report=term:skip-covered

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev lock kcl demo demo-aws test test-all check docs format bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.local: setup.cfg pyproject.toml $(LOCK) dashboard/package.json | $(BIN)/python
	$(PIP) install --constraint $(LOCK) --editable '.[local]'
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/npm ci --prefix dashboard --silent
	@touch $@

$(VENV)/.dev: $(VENV)/.local
	$(PIP) install --constraint $(LOCK) --editable '.[dev]'
	@touch $@

setup: $(VENV)/.local ## install what the product needs into .venv
setup-dev: $(VENV)/.dev ## install what tests and checks need, too

lock: | $(BIN)/python ## make requirements.lock again after a change of setup.cfg; ARGS=--upgrade takes the newest versions
	$(PIP) install uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-annotate \
		--custom-compile-command 'make lock' --output-file $(LOCK) $(ARGS) setup.cfg

kcl: setup ## install the Kinesis Client Library for Python and its jars (needs Java to run)
	@PIP_CONSTRAINT=$(LOCK) $(BIN)/python -m processor.kcl.install

demo: setup ## run the whole pipeline on this machine, with a page to look at
	@$(BIN)/liveinsight up $(ARGS)

demo-aws: setup ## the same on a local AWS stack: Kinesis and DynamoDB instead of SQLite
	@$(BIN)/liveinsight up --stand-in $(ARGS)

# The fast tests. In CI their coverage, and the slow suites after them. ARGS selects from all tests.
test: setup-dev ## run the fast tests, JOBS=2 files at once; ARGS='tests/api -k totals' selects from all tests
ifneq ($(ARGS),)
	@$(PYTEST) $(ARGS)
else
	@$(PYTEST) -m 'not slow' $(if $(filter true,$(CI)),$(COVERAGE))
ifeq ($(CI),true)
	@$(PYTEST) -m slow
else
	@echo "Left out: the slow suites ($(SUITES)). \`make test-all\` runs everything, \`make test ARGS='-m kcl'\` one suite."
endif
endif

test-all: setup-dev ## run all tests (those that need a tool that is missing are skipped)
	@$(PYTEST) $(ARGS)

check: setup-dev ## format, lint, types, imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup-dev ## build the documentation as a site into build/site; broken links fail
	@$(BIN)/python docs/build.py

format: setup-dev ## bring all files into the house format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup-dev ## measure throughput and CPU time on this machine
	$(BIN)/python -m bench.pipeline $(ARGS)

clean: ## remove what was installed and what `up` has saved
	rm -rf $(VENV) .liveinsight dashboard/node_modules localstack/node_modules localstack/lib localstack/.install.lock
