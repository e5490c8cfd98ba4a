#!/usr/bin/env bash
# LeNet on MNIST beside MXNet and PyTorch, on two cores of this machine:
#   experiments/peers/lenet.sh [ROUNDS]
# Installs both peers from PyPI into virtual environments below the target folder (Python 3.11, since
# MXNet 1.9.1 is the last one), runs the three in turn, and prints the medians of the rounds' ratios.
# Then each trains until 98.5 % test accuracy, at its best of a small grid of rates.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-3}
here=experiments/peers
peers=${CARGO_TARGET_DIR:-target}/peers
mkdir -p "$peers"
source "$here/venvs.sh"
install_torch
install_mxnet
cargo build --quiet --release --example lenet_throughput --example lenet_mnist
bin=${CARGO_TARGET_DIR:-target}/release/examples

torch() { "$peers/torch/bin/python" $here/torch_lenet.py data/mnist 2 "$@"; }
mxnet() { OMP_NUM_THREADS=2 "$peers/mxnet/bin/python" $here/mxnet_lenet.py data/mnist "$@"; }
rate() { awk '{ for (i = 1; i < NF; i++) if ($i == "images_per_s") print $(i + 1) }'; }

log=$peers/lenet.tsv
: >"$log"
for round in $(seq "$rounds"); do
    m=$(mxnet 1 64 0.05 0.8 2>/dev/null | rate)
    t=$(torch 1 64 0.05 0.8 2>/dev/null | rate)
    s=$("$bin/lenet_throughput" --case two --images 10000)
    read -r load _ </proc/loadavg
    printf 'round %s: MXNet %s, PyTorch %s, Siren with two workers %s images/s; load average %s\n' \
        "$round" "$m" "$t" "$s" "$load"
    printf '%s\t%s\t%s\n' "$m" "$t" "$s" >>"$log"
done
python3 - "$log" <<'PY'
import statistics, sys
rows = [[float(x) for x in line.split()] for line in open(sys.argv[1])]
for name, column in (("MXNet", 0), ("PyTorch", 1)):
    print(f"Siren / {name}: {statistics.median(r[2] / r[column] for r in rows):.2f}")
PY

# Seconds of training until the test accuracy is 98.5 %, measured after each epoch, at most two. Each
# framework has the same grid of optimizers and rates, and batches of 64. The best setting then runs
# with three other seeds. Siren also has the defaults of its example: the rate falls along half a
# cosine to a tenth, and gradients are clipped to a norm of 1.
out=$(mktemp --directory)
trap 'rm -rf "$out"' EXIT
siren() { # EPOCHS BATCH RATE MOMENTUM SEED
    local optimizer=(--optimizer momentum --momentum "$4")
    if [ "$4" = adam ]; then optimizer=(--optimizer adam); fi
    rm -rf "$out/run"
    "$bin/lenet_mnist" --workers 2 --threads 2 --epochs "$1" --batch-size "$2" --lr "$3" \
        "${optimizer[@]}" --seed "$5" --quiet --out "$out/run" >/dev/null || return
    python3 - "$out/run/run.json" <<'PY'
import json, sys
for epoch in json.load(open(sys.argv[1]))["epochs"]:
    print("seconds", f"{epoch['elapsed_s']:.2f}", "test_accuracy", f"{epoch['metrics']['accuracy']:.4f}", flush=True)
PY
}
# Prints the seconds and the epochs, or `missed`.
reached() {
    # Reads to the end: a reader that leaves early would fail the writer, and with it this script.
    awk '!found { for (i = 1; i < NF; i++) { if ($i == "seconds") s += $(i + 1)
        if ($i == "test_accuracy" && $(i + 1) >= 0.985) { found = 1; printf "%.2f %d\n", s, NR } } }
        END { if (!found) print "missed" }'
}
# NAME SETTING SEED
timed() {
    if ! "$1" 2 64 "${2%:*}" "${2#*:}" "$3" >"$out/log" 2>"$out/errors"; then
        tail -n 5 "$out/errors" >&2
        return 1
    fi
    reached <"$out/log"
}
grid="0.02:0.8 0.05:0.8 0.1:0.8 0.0005:adam 0.001:adam 0.002:adam"
for name in mxnet torch siren; do
    best=
    for setting in $grid; do
        seconds=$(timed "$name" "$setting" 1)
        echo "search: $name, $setting: $seconds"
        if [ "$seconds" != missed ]; then best+="$seconds $setting"$'\n'; fi
    done
    best=$(printf %s "$best" | sort -n | head -n 1 | cut -d ' ' -f 3)
    if [ -z "$best" ]; then
        echo "$name: no setting reaches 98.5 % within 2 epochs"
        continue
    fi
    for seed in 2 3 4; do
        seconds=$(timed "$name" "$best" "$seed")
        echo "$name, $best, seed $seed: $seconds"
    done
done
