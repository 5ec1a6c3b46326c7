# Every task of the project, one line each; `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Node, pnpm and the folder for build output come from here, so that a plain shell is enough.
IN := source infra/env.sh &&

.PHONY: help bootstrap bootstrap-checks bootstrap-bench install engine build demo test ready bench generate check-generated fmt lint deny

help: ## List the tasks
	@grep -E '^[a-z-]+:.*## ' Makefile | sort | sed -E 's/^([a-z-]+):.*## (.*)/  make \1|\2/' | column -t -s '|'

demo: build ## Show the whole product on simulated parts: pair, back up, change, back up, verify, restore
	@$(IN) node tools/demo.ts

test: bootstrap-checks ## Everything that CI runs; the last line counts what passed and failed
	@$(IN) node tools/test-all.ts

ready: bootstrap-checks install ## The checks without the tests: format, lint, types, layers, licences, documents
	@$(IN) node tools/test-all.ts ready

bench: bootstrap-bench build ## Measure the product beside its peers
	@$(IN) infra/bench/bench.sh

build: engine ## Build what is not run from source: the native engine and the vSphere lab
	@$(IN) infra/vsphere-lab/build.sh

engine: install ## Build the native engine alone
	@tools/build-native.sh

install: bootstrap ## Install the JavaScript packages of the lock file
	@$(IN) pnpm install --frozen-lockfile --reporter=append-only --loglevel=warn

bootstrap: ## Install what the system lacks for the demo
	@infra/bootstrap.sh

bootstrap-checks: ## Install what the system lacks for the checks
	@infra/bootstrap.sh --checks

bootstrap-bench: ## Install what the system lacks for the benchmark
	@infra/bootstrap.sh --bench

generate: install ## Rewrite the generated documents from the contract
	@$(IN) node tools/generate.ts

check-generated: install ## Fail when a generated document is older than the contract
	@$(IN) node tools/generate.ts --check

fmt: install ## Format everything
	@$(IN) pnpm exec biome check --write .
	@$(IN) cargo fmt --all
	@$(IN) gofmt -w infra/vsphere-lab

lint: install ## Lint TypeScript and Rust
	@$(IN) pnpm exec biome check . && tools/oxlint.sh
	@$(IN) cargo clippy --release --workspace --all-targets -- -D warnings

deny: bootstrap-checks ## Check the licences and sources of the Rust crates
	@$(IN) cargo deny check bans licenses sources
