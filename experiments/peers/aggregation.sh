#!/usr/bin/env bash
# Aggregation beside PyTorch and MXNet, on this machine:
#   experiments/peers/aggregation.sh [ROUNDS]
# Installs both peers from PyPI into virtual environments below the target folder (Python 3.11, since
# MXNet 1.9.1 is the last one), runs the three in turn, and prints the medians over the rounds, which it
# also writes to target/siren/bench/peers.json. Replaces the bench's aggregation.json beside that.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5}
here=experiments/peers
target=${CARGO_TARGET_DIR:-target}
peers=$target/peers
results=$target/siren/bench
mkdir -p "$peers" "$results"
source "$here/venvs.sh"
install_torch
install_mxnet

cells='^(push/sgd/(431080|10000000)|push/(momentum|adam)/10000000|mean of 16/-/10000000|push and pull/sgd/431080)/workers/1$'
siren() {
    # Lest an older table passes for this round's.
    rm -f "$results/aggregation.json"
    if ! cargo bench --quiet --bench hsp_aggregation -- "$cells" >"$log/siren.txt" 2>&1; then
        cat "$log/siren.txt" >&2
        exit 1
    fi
    cp "$results/aggregation.json" "$1"
}
# Runs a peer's program into a file.
peer() {
    local program=$1 out=$2
    if ! "$peers/$program/bin/python" "$here/aggregation_$program.py" >"$out" 2>"$log/$program.txt" ||
        [ ! -s "$out" ]; then
        cat "$log/$program.txt" >&2
        echo "$program failed" >&2
        exit 1
    fi
}
torch() { OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 peer torch "$1"; }
# With its default settings, and with both cores, while the others have one thread.
mxnet() { (unset OMP_NUM_THREADS && peer mxnet "$1"); }
mxnet_two() { OMP_NUM_THREADS=2 peer mxnet "$1"; }

log=$peers/aggregation
rm -rf "$log"
mkdir "$log"
for round in $(seq "$rounds"); do
    siren "$log/$round.json"
    torch "$log/$round.torch"
    mxnet "$log/$round.mxnet"
    mxnet_two "$log/$round.mxnet_two"
    read -r load _ </proc/loadavg
    echo "round $round of $rounds: load average $load"
done
python3 - "$log" "$rounds" "$results/peers.json" <<'PY'
import json, statistics, sys
log, rounds, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
LENET, TEN_MILLION = 431_080, 10_000_000
# Work; the bench's cell, its column, and its bytes for each parameter; the peer's program and line.
ROWS = [
    ("push, SGD", LENET, "push", "sgd", "gb_per_s", 12, "PyTorch add_", "torch", "add"),
    ("push, SGD", TEN_MILLION, "push", "sgd", "gb_per_s", 12, "PyTorch add_", "torch", "add"),
    ("push, momentum", TEN_MILLION, "push", "momentum", "gb_per_s", 20, "PyTorch fused SGD", "torch", "momentum"),
    ("push, Adam", TEN_MILLION, "push", "adam", "gb_per_s", 28, "PyTorch fused Adam", "torch", "adam"),
    ("bare loop, momentum", TEN_MILLION, "push", "momentum", "limit_gb_per_s", 20, "PyTorch fused SGD", "torch", "momentum"),
    ("bare loop, Adam", TEN_MILLION, "push", "adam", "limit_gb_per_s", 28, "PyTorch fused Adam", "torch", "adam"),
    ("mean of 16", TEN_MILLION, "mean of 16", "-", "gb_per_s", 68, "PyTorch stack and mean", "torch", "mean"),
    ("mean of 16", TEN_MILLION, "mean of 16", "-", "gb_per_s", 68, "PyTorch sums in place", "torch", "sums"),
    ("push and pull, SGD", LENET, "push and pull", "sgd", "gb_per_s", 20, "MXNet local KVStore", "mxnet", "push_and_pull"),
    ("push and pull, SGD", LENET, "push and pull", "sgd", "gb_per_s", 20, "the same, OMP_NUM_THREADS=2", "mxnet_two", "push_and_pull"),
]


def siren(round, bench, optimizer, parameters, column, size):
    for row in json.load(open(f"{log}/{round}.json")):
        if (row["bench"], row["rule"], row["parameters"], row["workers"]) == (bench, optimizer, parameters, 1):
            return size * parameters / row[column] / 1e9
    sys.exit(f"round {round}: the bench has no row {bench}, {optimizer}, {parameters}")


def peer(round, program, name):
    lines = dict(line.split() for line in open(f"{log}/{round}.{program}"))
    if name not in lines:
        sys.exit(f"round {round}: {program} printed no {name}")
    return float(lines[name])


def time(us):
    return f"{us:.1f} µs" if us < 1000 else f"{us / 1000:.2f} ms"


table = []
for work, parameters, bench, optimizer, column, size, label, program, line in ROWS:
    ours = [siren(r, bench, optimizer, parameters, column, size) for r in range(1, rounds + 1)]
    theirs = [peer(r, program, f"{line}_{parameters}") for r in range(1, rounds + 1)]
    table.append({
        "work": work,
        "parameters": parameters,
        "siren_us": statistics.median(ours) * 1e6,
        "peer": label,
        "peer_us": statistics.median(theirs) * 1e6,
        "ratio": statistics.median(t / o for o, t in zip(ours, theirs)),
    })
print(f"\n{'work':<20} {'parameters':>11} {'Siren':>10} {'peer':>10} {'ratio':>6}  against")
for row in table:
    print(f"{row['work']:<20} {row['parameters']:>11,} {time(row['siren_us']):>10} {time(row['peer_us']):>10} "
          f"{row['ratio']:>6.2f}  {row['peer']}")
with open(out, "w") as file:
    json.dump(table, file, indent=2)
    file.write("\n")
print(f"\nwritten to {out}")
PY
