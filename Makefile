# Thin: each target calls one tool. `make up` and `make test` need nothing but a Debian 12 or 13 computer and root.
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
export PATH := $(CURDIR)/.venv/bin:$(PATH)

PYTEST := python -m pytest
REPORT = --junit-xml=build/junit/$@.xml
# The order is the order of the run: cheap checks first, then a deployed machine, then what breaks it.
SUITES := tests/checks tests/unit tests/default tests/host tests/mail tests/keys_kill tests/erasure tests/faults
MACHINE := mol-default

.PHONY: help setup setup-tests up down shell test test-all lint unit molecule e2e faults bench docs lock sbom audit-deps

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: ## make this computer ready (every target does so by itself)
	@tools/setup

setup-tests:
	@tools/setup --tests

up: setup ## a mail host and its witness on this computer: machines, deployment, two mailboxes, what to do next
	@python -m up

down: setup ## remove the machines and every trace of them
	@python -m up down

shell: setup ## a shell on the machine of `make up`
	@python -m machines shell mail

test: setup-tests ## everything that must pass before a change: up to 45 minutes on 2 cores
	@SENSMAIL_MACHINE=$(MACHINE) $(PYTEST) $(REPORT) $(SUITES)

test-all: setup-tests ## `test`, and what takes longer: the machines tool, more faults
	@SENSMAIL_MACHINE=$(MACHINE) SENSMAIL_FAULT_SEEDS=1,2,3,4 $(PYTEST) $(REPORT) $(SUITES) tests/machines

lint: setup-tests ## style, types, layers, specifications
	@$(PYTEST) $(REPORT) tests/checks

unit: setup-tests ## unit tests
	@$(PYTEST) $(REPORT) tests/unit

molecule: setup-tests ## scenario `default`: create, converge, idempotence, verify, destroy
	@molecule test --scenario-name default

e2e: setup ## mail from end to end, on the machine of `make up` (or SENSMAIL_MACHINE)
	@$(PYTEST) $(REPORT) tests/mail

faults: setup ## interrupt the deployment at seeded moments (SENSMAIL_FAULT_SEEDS=5,6)
	@$(PYTEST) $(REPORT) tests/faults

bench: setup ## measure, each figure against its baseline: build/bench.json
	@python -m bench

docs: setup ## write the reference of modules and roles to build/docs
	@python tools/reference.py

lock: setup ## upgrade every lock to the newest versions
	@tools/lock

sbom: setup ## bills of materials of the locks: build/sbom
	@python tools/supply.py sbom

audit-deps: setup ## known vulnerabilities in the locks; says what could not be assessed
	@python tools/supply.py audit
