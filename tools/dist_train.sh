#!/usr/bin/env bash
# Trains on several processes: a GPU each, or CPUs where there are no GPUs.
#
#   tools/dist_train.sh CONFIG PROCESSES [options of tools/train.py]
#
# such as
#
#   tools/dist_train.sh configs/digits/adm_1xb32_digits-16x16.py 2
#
# On N machines, start it on each of them with NNODES=N, NODE_RANK from 0 to N-1, and MASTER_ADDR
# the address of the first. PYTHON picks the interpreter.
#
# Exit codes: 2 for wrong usage, else those of torchrun.
set -euo pipefail
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }
case ${1:-} in -h | --help) usage && exit 0 ;; esac
if [[ $# -lt 2 || ! $2 =~ ^([1-9][0-9]*|gpu|cpu|auto)$ ]]; then
    usage >&2
    exit 2
fi
config=$1 processes=$2
shift 2
root=$(cd "$(dirname "$0")/.." && pwd)

if [ "${NNODES:-1}" = 1 ]; then
    meeting=(--standalone)
else
    meeting=(
        --nnodes="$NNODES" --node-rank="${NODE_RANK:?}"
        --master-addr="${MASTER_ADDR:?}" --master-port="${MASTER_PORT:-29500}"
    )
fi
PYTHONPATH=$root${PYTHONPATH:+:$PYTHONPATH} exec "${PYTHON:-python}" -m torch.distributed.run \
    "${meeting[@]}" --nproc-per-node="$processes" \
    "$root/tools/train.py" "$config" --launcher pytorch "$@"
