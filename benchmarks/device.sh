#!/usr/bin/env bash
# Checks that need a GPU, on a machine that has one, PyTorch and no network (benchmarks/device.py says what they are).
#
#   device.sh pack [HAM10000.zip] [WEIGHTS.safetensors …]     here: wheels, data and weights into .device/
#   device.sh run [OUT] [OPTION …]     there: installs the wheels, writes OUT/device.json (OUT is $OUT if unset)
#   device.sh study PLAN SECONDS WORKERS [KEY=VALUE …]     there: cells of a study, archived in $OUT; then packing takes
#                                      a minute more. $ROOT is the folder of other data than what was packed
#   device.sh dry-run [OUT]            anywhere: the same as run, small, with what is installed
#
# .device/ is ignored by git and must be carried there beside the working tree; both together stay below 64 MiB.
set -euo pipefail
cd "$(dirname "$0")/.."
LIMIT_MIB=64
PYTHON=${PYTHON:-python3}
SITE=${SITE:-/tmp/preceptor-site}
# What the package needs and the machine's image lacks, or has in another version than constraints.txt pins.
WHEELS="pydantic pydantic_core typing-inspection annotated-types platformdirs segmentation_models_pytorch timm
safetensors lightning-fabric torchdistill"

pinned() { # the requirement of a package as constraints.txt pins it, or its bare name
    grep -i "^${1//[-_]/[-_]}==" constraints.txt || echo "$1"
}

pack() {
    rm -rf .device && mkdir -p .device/wheels .device/weights
    local requirements=()
    for name in $WHEELS; do requirements+=("$(pinned "$name")"); done
    "$PYTHON" -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
        --dest .device/wheels "${requirements[@]}"
    [ $# -ge 1 ] && cp "$1" .device/HAM10000.zip
    [ $# -ge 2 ] && cp "${@:2}" .device/weights/
    local mib
    mib=$((($(du -sk .device | cut -f1) + $(git ls-files -z | xargs -0 du -sk --total | tail -1 | cut -f1)) / 1024))
    echo ".device and the working tree: $mib MiB of $LIMIT_MIB"
    [ "$mib" -lt "$LIMIT_MIB" ] || { echo "too large to be carried: leave weights or data out" >&2; exit 1; }
}

install() { # what was packed, once on a machine
    if [ ! -e "$SITE/installed" ]; then
        "$PYTHON" -m pip install --quiet --no-index --no-deps --no-compile --upgrade --target "$SITE" .device/wheels/*.whl
        if [ -f .device/HAM10000.zip ]; then "$PYTHON" -m zipfile -e .device/HAM10000.zip "$SITE/HAM10000"; fi
        touch "$SITE/installed"
    fi
    export PYTHONUNBUFFERED=1 PYTHONPATH="$SITE:$PWD/src:$PWD"
}

run() {
    local out=${OUT:-} data=()
    if [ $# -ge 1 ] && [ "${1#-}" = "$1" ]; then out=$1 && shift; fi
    install
    [ -d "$SITE/HAM10000" ] && data=(--data "$SITE/HAM10000" --weights .device/weights)
    "$PYTHON" -m benchmarks.device --json "${out:?name a folder for device.json}/device.json" "${data[@]}" "$@"
}

study() { # in the folder of the weights, which plans name without one
    [ $# -ge 3 ] || { echo "device.sh study: expected PLAN SECONDS WORKERS [KEY=VALUE …]" >&2; exit 2; }
    local plan name out root
    plan=$(realpath "$1") name=$(basename "$1" .yaml)
    out=$(realpath -m "${OUT:?name a folder for the archives}") root=$(realpath -m "${ROOT:-$SITE/HAM10000}")
    install
    cd .device/weights
    OMP_NUM_THREADS=1 "$PYTHON" -m benchmarks.device_study "$plan" --root "$root" --cache /tmp/preceptor-cache \
        --out "/tmp/preceptor-studies/$name" --archives "$out" --seconds "$2" --workers "$3" "${@:4}"
}

case "${1:-}" in
pack) pack "${@:2}" ;;
run) run "${@:2}" ;;
study) study "${@:2}" ;;
dry-run)
    out=${2:-$(mktemp -d)}
    PYTHONPATH=src "$PYTHON" -m benchmarks.device --dry-run --minutes 5 --json "$out/device.json" --data "$out/phantom"
    echo "$out/device.json"
    ;;
*) sed -n '2,11s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
