# Every target installs what it needs. `make help` lists them.
SHELL := /bin/bash
UV_VERSION := 0.13.9
PYTHON ?= python3
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/serinus
UV := $(CACHE)/uv-$(UV_VERSION)/bin/uv
STAMP := .venv/.installed
BIN := .venv/bin
ARGS ?=

.PHONY: help test demo check lock generate cluster cluster-down images clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(UV):
	@$(PYTHON) -m venv $(CACHE)/uv-$(UV_VERSION)
	@$(CACHE)/uv-$(UV_VERSION)/bin/pip install --quiet uv==$(UV_VERSION)

$(STAMP): $(UV) requirements.lock pyproject.toml runtime_image/pyproject.toml
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .venv
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . -e runtime_image
	@touch $@

test: $(STAMP) ## all tests, or some: make test ARGS='tests/unit -k analysis'
	@$(BIN)/python -m $(if $(ARGS),pytest $(ARGS),tests.whole)

check: $(STAMP) ## lint, types, import contracts and generated files, in seconds
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m serinus.api.crd --check
	@$(BIN)/python -m serinus.api.reference --check
	@$(BIN)/python -m serinus_server.grpc_api.generate --check

generate: $(STAMP) ## write the generated files again (CRD, reference page, gRPC messages)
	@$(BIN)/python -m serinus.api.crd
	@$(BIN)/python -m serinus.api.reference
	@$(BIN)/python -m serinus_server.grpc_api.generate

lock: $(UV) ## resolve the dependencies again
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --group dev pyproject.toml runtime_image/pyproject.toml -o requirements.lock
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-header -c requirements.lock pyproject.toml -o operator/requirements.lock
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-header -c requirements.lock --all-extras runtime_image/pyproject.toml -o runtime_image/requirements.lock
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-header -c requirements.lock --group image-build -o operator/build.lock
	@cp operator/build.lock runtime_image/build.lock
	@$(UV) pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --group kserve-client -o tests/unit/server/kserve_client.lock

demo: $(STAMP) ## apply, serve, promote, roll back, on a real cluster; ARGS=--keep leaves it up
	@$(BIN)/python -m examples.demo $(ARGS)

cluster: $(STAMP) ## bring up the test cluster and print its kubeconfig
	@$(BIN)/python -m tests.cluster up

cluster-down: $(STAMP) ## take the test cluster down
	@$(BIN)/python -m tests.cluster down

images: $(STAMP) ## build the server's and the operator's images; ARGS='--architecture arm64' for the other one
	@$(BIN)/python -m tests.cluster images $(ARGS)

clean: ## remove the virtual environment and caches inside the checkout
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
