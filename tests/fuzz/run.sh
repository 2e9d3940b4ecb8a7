#!/bin/sh
# Runs fuzz targets: all of them for 20 s each, or as told.
#
#   sh tests/fuzz/run.sh                              every target, 20 s each
#   sh tests/fuzz/run.sh sql                          one target, 20 s
#   sh tests/fuzz/run.sh sql -- -max_total_time=600   one target, with options of libFuzzer
#
# What a target has found interesting stays in corpus/, what made it fail in artifacts/; seeds/ is what it begins with.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
# The compiler's sanitizers are not stable, and reached from a stable compiler by this.
export RUSTC_BOOTSTRAP=1
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz

targets=$(cd "$here/targets" && for file in *.rs; do printf '%s ' "${file%.rs}"; done)
case ${1:-} in
    '' | --) ;;
    *)
        targets=$1
        shift
        ;;
esac
[ "${1:-}" != -- ] || shift
[ $# -gt 0 ] || set -- -max_total_time=20

for target in $targets; do
    echo "== $target"
    mkdir -p "$here/corpus/$target"
    cargo fuzz run --fuzz-dir "$here" "$target" "$here/corpus/$target" "$here/seeds/$target" -- "$@"
done
