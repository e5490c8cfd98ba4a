#!/usr/bin/env bash
# LeNet on MNIST beside MXNet and PyTorch, on two cores of this machine:
#   experiments/peers/lenet.sh [ROUNDS]
# Installs both peers from PyPI into virtual environments below the target folder (Python 3.11, since
# MXNet 1.9.1 is the last one), runs the three in turn, and prints the medians of the rounds' ratios.
# Then each trains until 98.5 % test accuracy, at the same rate and momentum.
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

# Seconds of training until the test accuracy is 98.5 %, measured after each epoch.
reached() {
    # Reads to the end: a reader that leaves early would fail the writer, and with it this script.
    awk -v name="$1" '!found { for (i = 1; i < NF; i++) { if ($i == "seconds") s += $(i + 1)
        if ($i == "test_accuracy" && $(i + 1) >= 0.985) { found = 1; print name ": " s " s, " NR " epochs" } } }
        END { if (!found) print name ": not within " NR " epochs" }'
}
mxnet 3 64 0.05 0.8 2>/dev/null | reached MXNet
torch 3 64 0.05 0.8 2>/dev/null | reached PyTorch
out=$(mktemp --directory)
trap 'rm -rf "$out"' EXIT
"$bin/lenet_mnist" --workers 2 --threads 2 --lr 0.05 --momentum 0.8 --epochs 3 --quiet --out "$out" >/dev/null
python3 - "$out/run.json" <<'PY'
import json, sys
seconds = 0
for number, epoch in enumerate(json.load(open(sys.argv[1]))["epochs"], 1):
    seconds += epoch["elapsed_s"]
    if epoch["metrics"]["accuracy"] >= 0.985:
        print(f"Siren with two workers: {seconds:.1f} s, {number} epochs")
        break
PY
