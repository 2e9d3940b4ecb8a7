# Everything a developer or a first-time user runs. `make demo` and `make test` do all the set-up themselves.
#
#   make demo                        see pgweir work, with real servers made on the spot
#   make demo ARGS="--replicas 1"    the same, with options; ARGS="-- pgbench -i" runs a command and ends
#   make test                        formatting, clippy, and every test
#   make build                       the program, at target/release/pgweir
#   make bench                       is any function slower?
#   make perf                        is the proxy slower? the short set of measurements, under five minutes
#   make fuzz                        strangers' bytes and anybody's files, every fuzz target for 20 s
#   make fuzz ARGS="sql -- -max_total_time=600"    one target, with options of libFuzzer
#   make loom                        the hand-over between threads, in every order they may run in
#   make baseline                    the instruction counts that `make test` compares with, anew
#   make setup                       only the set-up: installs what is missing
#
# ARGS are also handed to `cargo bench`.

# cargo lies in its own folder until the user's next login, and in a cron job for good.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin
SHELL := /bin/sh
ARGS ?=
PERF_SHORT = --warmup 300ms --duration 1s

.PHONY: demo test build bench baseline perf fuzz loom setup setup-lint

demo: setup
	@cargo build --release --bin pgweir
	@cargo run --quiet --release --bin pgweir -- demo $(ARGS)

test: setup-lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test --workspace
	cargo bench --quiet --profile instructions --bench instructions -- check

build: setup
	cargo build --release --bin pgweir

bench: setup
	cargo bench $(ARGS)

baseline: setup
	cargo bench --quiet --profile instructions --bench instructions -- write

# What perf/README.md explains; figures and plots land in target/perf.
perf: setup
	cargo build --release --bin pgweir
	cargo build --release --package perf --bin perf
	@mkdir -p target/perf
	target/release/perf compare $(PERF_SHORT) --json target/perf/compare.json --plots target/perf
	target/release/perf compare $(PERF_SHORT) --connections 1 --modes simple \
		--proxies direct,relay,pgweir,pgweir-spin,pgbouncer --json target/perf/one.json
	target/release/perf compare $(PERF_SHORT) --connections 64 --modes simple --open 70 --rounds 2 \
		--proxies relay,pgweir,pgbouncer --json target/perf/open.json --plots target/perf
	target/release/perf compare $(PERF_SHORT) --connections 16 --modes prepared --workload select --rounds 2 \
		--json target/perf/select.json
	target/release/perf bulk $(PERF_SHORT) --rounds 2 --kinds results,copy-in --json target/perf/bulk.json
	target/release/perf storm $(PERF_SHORT) --json target/perf/storm.json
	target/release/perf fair $(PERF_SHORT) --rounds 1 --json target/perf/fair.json
	target/release/perf shards $(PERF_SHORT) --json target/perf/shards.json
	target/release/perf idle --rounds 1 --json target/perf/idle.json

fuzz: setup
	@sh tests/fuzz/run.sh $(ARGS)

loom: setup
	RUSTFLAGS="--cfg loom" cargo test --release --manifest-path tests/loom/Cargo.toml --target-dir target/loom

setup:
	@sh tests/setup.sh

setup-lint:
	@sh tests/setup.sh lint
