# Coffer: everything a person or a CI does here, one target each. `make help` lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help

TRIPLE := x86_64-unknown-linux-gnu
TARGET_DIR := $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)
# Tests run with the failpoints compiled in; one set of features for all crates, so that clippy,
# unit tests and the binaries under test share their artifacts.
FAILPOINTS := --features coffer/failpoints,agent/failpoints
TEST_BINS := $(TARGET_DIR)/$(TRIPLE)/debug
OCI := $(TARGET_DIR)/shipped/coffer-oci
# A youki to compare with: cargo install --locked --features v1 youki --version '^0.7', then
# make bench YOUKI=PATH. Not by itself: its foreground run hangs when the process ends before it looks;
# a table leaves out a program that does.
# Root tests wait more than they compute.
NEXTEST := cargo nextest run --workspace $(FAILPOINTS)

.PHONY: help setup setup-build build build-oci demo guest vm test lint unit system bench fuzz measure deny clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what building and testing need (Debian 12, root; only what is missing)
	@scripts/setup.sh test

setup-build:
	@scripts/setup.sh build

build: setup-build build-oci ## Release binaries coffer, coffer-agent and coffer-oci in ./bin
	cargo build --release --locked -p coffer
	cargo build --release --locked -p agent
	@install -D -t bin $(TARGET_DIR)/$(TRIPLE)/release/coffer \
	  $(TARGET_DIR)/$(TRIPLE)/release/coffer-agent $(OCI)
	@ls -l bin | awk 'NR > 1 { printf "  bin/%-14s %5.1f MiB\n", $$9, $$5 / 1048576 }'

build-oci: setup-build
	scripts/build-oci.sh

demo: build ## A pod from a real image that lives through a SIGKILL of its daemon
	@scripts/setup.sh demo
	@scripts/demo.sh

guest: setup ## What tests in virtual machines boot and run, in target/guest
	cargo build --workspace --bins --locked $(FAILPOINTS)
	$(TEST_BINS)/guest --cache $(TARGET_DIR)/guest build
	cargo nextest list --workspace --locked $(FAILPOINTS) --list-type binaries-only \
	  --message-format json > $(TARGET_DIR)/guest/programs.new
	@mv $(TARGET_DIR)/guest/programs.new $(TARGET_DIR)/guest/programs.json

vm: guest ## Only the tests in virtual machines: the core on cgroup v2, the agent as init
	COFFER_BIN_DIR=$(TEST_BINS) $(NEXTEST) --locked -E 'package(vm-tests)'

test: setup lint guest ## Lints, unit tests, goldens, root tests, whole-system tests, tests in virtual machines
	cargo test --doc --workspace --locked $(FAILPOINTS) --quiet
	COFFER_BIN_DIR=$(TEST_BINS) $(NEXTEST) --locked -E 'not package(vm-tests)'
# Emulated machines keep both processors of a small one busy: not beside tests that wait for something.
	COFFER_BIN_DIR=$(TEST_BINS) $(NEXTEST) --locked -E 'package(vm-tests)'
# As it is shipped: another libc, another start, no unwinding, other code.
	$(MAKE) build-oci
	COFFER_OCI=$(OCI) $(NEXTEST) --locked -E 'package(oci-cli) and kind(test)'

lint: setup ## Formatting and clippy, warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked $(FAILPOINTS) -- -D warnings

unit: setup-build ## Only the tests beside the code
	$(NEXTEST) --lib --bins

system: setup ## Only the whole-system tests (real daemon, real namespaces)
	cargo build --workspace --bins $(FAILPOINTS)
	COFFER_BIN_DIR=$(TEST_BINS) cargo nextest run -p system-tests

bench: build ## coffer-oci against crun, runc and the kernel's own cost, the agent, pods through CRI, pulls against containerd and podman
	@scripts/setup.sh bench
	cargo run --release --locked -p bench -- $(if $(YOUKI),--youki $(YOUKI))

fuzz: ## Feed hostile input to each reader of it, DURATION=60 s for each (KEEP=1: save what is new)
	@scripts/setup.sh fuzz
	@scripts/fuzz.sh $(or $(DURATION),60)

measure: build ## Memory of the daemon and of 20 pods' agents
	@scripts/setup.sh demo
	@scripts/measure.sh

deny: ## Licences, advisories, bans (installs cargo-deny when missing)
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny check bans licenses sources

clean: ## Remove what was built
	cargo clean
	rm -rf bin
