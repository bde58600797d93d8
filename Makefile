# Flotilla. `make` alone prints what there is.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
PYTHON := $(VENV)/bin/python
FLOTILLA := $(VENV)/bin/flotilla
export FLOTILLA_LAB_DIR ?= $(CURDIR)/.lab
# The lab's clusters, and no others, are what these targets act on.
export KUBECONFIG := $(FLOTILLA_LAB_DIR)/kubeconfig
# What the lab says is read when a target starts, and once for all of its lines: what has to know a new lab is a `make` of its own.
export FLOTILLA_STORE = $(shell cat $(FLOTILLA_LAB_DIR)/hub/url 2>/dev/null)
export FLOTILLA_RECEIVER = $(shell cat $(FLOTILLA_LAB_DIR)/hub/receiver 2>/dev/null)
export FLOTILLA_RECEIVER_TOKEN = $(shell cat $(FLOTILLA_LAB_DIR)/hub/token 2>/dev/null)
export FLOTILLA_RECOVERY = $(shell ls $(FLOTILLA_LAB_DIR)/recovery.yaml 2>/dev/null)
export FLOTILLA_AGENT_TOKEN = $(shell cat $(FLOTILLA_LAB_DIR)/secrets/token 2>/dev/null)
export FLOTILLA_OBSERVER_PASSWORD = $(shell cat $(FLOTILLA_LAB_DIR)/secrets/observer 2>/dev/null)
export DO_NOT_TRACK := 1
IMPURE := --ignore tests/flotilla --ignore tests/conformance
# Another virtual environment that happens to be active is not ours.
unexport VIRTUAL_ENV PYTHONPATH PREFECT_API_URL PREFECT_PROFILE

.PHONY: help env demo show up serve down lab lab-down test tests check lint format bench chaos soak conformance

help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(VENV)/.ready ## the Python environment, locked by version and hash

$(VENV)/.ready: requirements.txt pyproject.toml
	@echo "environment: $(VENV)"
	@if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then \
	  command -v apt-get >/dev/null || { echo "python3 has no venv module: install it (Fedora: dnf install python3; Debian: apt-get install python3-venv)"; exit 1; }; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv; fi
	@test -x $(PYTHON) || python3 -m venv $(VENV)
	@awk '/^uv==/ {wanted = 1} wanted {print} wanted && !/\\$$/ {exit}' requirements.txt > $(VENV)/uv.txt
	@$(PYTHON) -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/uv.txt
	@$(VENV)/bin/uv pip sync -q --compile-bytecode --require-hashes --python $(PYTHON) requirements.txt
	@$(VENV)/bin/uv pip install -q --python $(PYTHON) --no-deps --no-build-isolation -e .
	@touch $@

demo: env ## everything from nothing: lab, Prefect, podinfo rolled out, upgraded through a gate, rolled back (YES=1 answers the gate)
	@$(MAKE) up
	@$(MAKE) show

show: env
	@$(FLOTILLA) demo

up: env ## the lab, the Prefect server with a worker, every deployment served
	@$(PYTHON) -m lab up $(if $(SIMULATED_NODES),--simulated-nodes $(SIMULATED_NODES))
	@$(MAKE) serve

serve: env ## the Prefect server with a worker, every deployment served, on the lab that is up
	@$(FLOTILLA) server up

down: env ## what `make up` started, ended
	@$(FLOTILLA) server down
	@$(PYTHON) -m lab down

lab: env ## three real Kubernetes clusters on this machine (SIMULATED_NODES=100 adds simulated nodes)
	@$(PYTHON) -m lab up $(if $(SIMULATED_NODES),--simulated-nodes $(SIMULATED_NODES))

lab-down: env ## the lab gone: processes, namespaces, mounts, cgroups, routes; one that tests left behind, too
	@$(PYTHON) -m lab down
	@if test -d .lab-tests; then FLOTILLA_LAB_DIR=$(CURDIR)/.lab-tests $(PYTHON) -m lab down; fi

test: lint ## all tests, in a lab of their own unless this checkout's is up without `make up`, whose watchers would recover what tests kill
	@$(PYTHON) -m lab binaries >/dev/null  # a first build takes long, and is no test's time
	@$(PYTHON) -m pytest -v -n logical --dist loadfile --no-loadscope-reorder -m "not lab and not prefect" $(IMPURE)
	@if $(FLOTILLA) server status >/dev/null 2>&1; then $(MAKE) tests FLOTILLA_LAB_DIR=$(CURDIR)/.lab-tests; else $(MAKE) tests; fi

# A lab waits for much of its time: the pure tests have what it leaves, and take nothing that it wants.
tests: env ## the tests that need a lab, one after another, for in many of them seconds count; beside them the pure ones
	@said=$$(mktemp); trap 'rm -f $$said; kill $$(jobs -p) 2>/dev/null || true' EXIT; \
	watched() { "$$@" & wait $$!; }; \
	nice -n 19 $(PYTHON) -m pytest -q tests/flotilla tests/conformance >$$said 2>&1 & pure=$$!; \
	watched $(PYTHON) -m pytest -v -m "lab or prefect" tests/lab; \
	watched $(PYTHON) -m pytest -v -m "lab or prefect" --ignore tests/lab $(IMPURE); \
	wait $$pure || { cat $$said; exit 1; }; \
	tail -n 1 $$said

check: lint ## format, lint, types, import contracts, pure tests: under a minute
	@$(PYTHON) -m pytest -q -n logical --dist worksteal --hypothesis-profile=quick -m "not lab and not prefect and not programs and not long" \
	  tests/flotilla tests/lab tests/conformance

lint: env ## format, lint, types, import contracts
	@$(VENV)/bin/ruff format --check --quiet .
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy
	@contracts=$$($(VENV)/bin/lint-imports) || { echo "$$contracts"; exit 1; }

format: env ## the code, formatted
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

bench: env ## NAME=rollout: a table of figures and, last, one line of JSON
	@test -n "$(NAME)" || { echo "which? make bench NAME=rollout"; exit 2; }
	@$(PYTHON) -m tests.bench.$(NAME) $(ARGS)

chaos: env ## every recovery struck at every step by every fault (ARGS="--runbook switchover --sample 12 --seed 7"); hours
	@$(PYTHON) -m tests.recovery.chaos $(ARGS)

soak: env ## sites half ill for an hour (ARGS="--seconds 600"): no watcher may fail over
	@$(PYTHON) -m tests.recovery.chaos.soak $(ARGS)

conformance: env ## SUITE=FILE: upstream's 27 specs of the Multi-Cluster Services API against the lab and the keeper
	@$(PYTHON) -m tests.conformance --suite "$(SUITE)" $(ARGS)
