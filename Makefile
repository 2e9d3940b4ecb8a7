# Everything a developer or a first-time user runs. `make demo` and `make test` do all the set-up themselves.
#
#   make demo                        see pgweir work, with real servers made on the spot
#   make demo ARGS="--replicas 1"    the same, with options; ARGS="-- pgbench -i" runs a command and ends
#   make test                        formatting, clippy, and every test
#   make build                       the program, at target/release/pgweir
#   make bench                       is any function slower?
#   make setup                       only the set-up: installs what is missing
#
# ARGS are also handed to `cargo bench`.

# cargo lies in its own folder until the user's next login, and in a cron job for good.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
SHELL := /bin/sh
ARGS ?=

.PHONY: demo test build bench setup setup-lint

demo: setup
	@cargo build --release --bin pgweir
	@cargo run --quiet --release --bin pgweir -- demo $(ARGS)

test: setup-lint
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo test

build: setup
	cargo build --release --bin pgweir

bench: setup
	cargo bench $(ARGS)

setup:
	@sh tests/setup.sh

setup-lint:
	@sh tests/setup.sh lint
