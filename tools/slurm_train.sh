#!/usr/bin/env bash
# Trains on a Slurm cluster: torchrun on each machine, with a process for each GPU.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of tools/train.py]
#
# such as
#
#   GPUS=16 tools/slurm_train.sh gpu adm-64 adm_8xb32_imagenet-64x64
#
# GPUS is the number of GPUs (8), GPUS_PER_NODE how many of them a machine has (8), CPUS_PER_GPU
# the number of cores for each (5). SRUN_ARGS are further options of srun.
#
# Exit codes: 2 for wrong usage, else those of srun.
set -euo pipefail
usage() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; }
case ${1:-} in -h | --help) usage && exit 0 ;; esac
if [ $# -lt 3 ]; then
    usage >&2
    exit 2
fi
partition=$1 job_name=$2 config=$3
shift 3
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-8}
((per_node = gpus < per_node ? gpus : per_node))
if ((gpus % per_node)); then
    echo "GPUS=$gpus is no multiple of GPUS_PER_NODE=$per_node" >&2
    exit 2
fi

export tools="$(cd "$(dirname "$0")" && pwd)"
# shellcheck disable=SC2016,SC2086  # the quoted part is for each machine's own shell
srun --partition="$partition" --job-name="$job_name" --nodes=$((gpus / per_node)) \
    --ntasks-per-node=1 --gres=gpu:"$per_node" \
    --cpus-per-task=$((per_node * ${CPUS_PER_GPU:-5})) --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
    bash -c '
        export NNODES=$SLURM_NNODES NODE_RANK=$SLURM_NODEID
        MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
        export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
        exec "$tools/dist_train.sh" "$@"
    ' dist_train "$config" "$per_node" "$@"
