# What dist_test.sh, dist_train.sh, slurm_test.sh and slurm_train.sh have in common; they source it.
# The comment at the top of each is its help, and the first line that is set in there its usage.
set -euo pipefail
tools=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# launch_processes TOOL FILES WORDS...: runs tools/TOOL.py on processes of this machine. The words
# are a config, other files up to so many in all, the number of processes, and options.
launch_processes() {
    local tool=$1 most=$2
    shift 2
    help_if_asked "${1:-}" \
        'On N machines, start it on each of them with NNODES=N, NODE_RANK from 0 to N-1, and' \
        'MASTER_ADDR the address of the first. PYTHON picks the interpreter.' \
        '' \
        'Exit codes: 2 for wrong usage, else those of torchrun.'
    local number='^([1-9][0-9]*|gpu|cpu|auto)$' files=()
    while (($# && ${#files[@]} < most)) && [[ $1 != -* && ! $1 =~ $number ]]; do
        files+=("$1")
        shift
    done
    [[ ${#files[@]} -gt 0 && ${1:-} =~ $number ]] || wrong_usage
    local processes=$1 meeting=(--standalone)
    shift
    if [ "${NNODES:-1}" != 1 ]; then
        meeting=(
            --nnodes="$NNODES" --node-rank="${NODE_RANK:?}"
            --master-addr="${MASTER_ADDR:?}" --master-port="${MASTER_PORT:-29500}"
        )
    fi
    PYTHONPATH=${tools%/*}${PYTHONPATH:+:$PYTHONPATH} exec "${PYTHON:-python}" \
        -m torch.distributed.run "${meeting[@]}" --nproc-per-node="$processes" \
        "$tools/$tool.py" "${files[@]}" --launcher pytorch "$@"
}

# launch_job TOOL FILES WORDS...: runs tools/dist_TOOL.sh on machines of a Slurm cluster. The words
# are the partition, the job's name, a config, other files up to so many in all, and options.
launch_job() {
    local tool=$1 most=$2
    shift 2
    help_if_asked "${1:-}" \
        'GPUS is the number of GPUs (8), GPUS_PER_NODE how many of them a machine has (8),' \
        'CPUS_PER_GPU the number of cores for each (5). SRUN_ARGS are further options of srun.' \
        '' \
        'Exit codes: 2 for wrong usage, else those of srun.'
    [[ $# -ge 3 && $3 != -* ]] || wrong_usage
    local partition=$1 job_name=$2 files=()
    shift 2
    while (($# && ${#files[@]} < most)) && [[ $1 != -* ]]; do
        files+=("$1")
        shift
    done
    local gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8}
    ((per_node = gpus < per_node ? gpus : per_node))
    if ((gpus % per_node)); then
        echo "GPUS=$gpus is no multiple of GPUS_PER_NODE=$per_node" >&2
        exit 2
    fi
    # shellcheck disable=SC2016,SC2086  # the quoted part is for each machine's own shell
    srun --partition="$partition" --job-name="$job_name" --nodes=$((gpus / per_node)) \
        --ntasks-per-node=1 --gres=gpu:"$per_node" \
        --cpus-per-task=$((per_node * ${CPUS_PER_GPU:-5})) --kill-on-bad-exit=1 ${SRUN_ARGS:-} \
        bash -c '
            export NNODES=$SLURM_NNODES NODE_RANK=$SLURM_NODEID
            MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
            export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))
            exec "$0" "$@"
        ' "$tools/dist_$tool.sh" "${files[@]}" "$per_node" "$@"
}

# help_if_asked WORD LINES...: where the word asks for help, says it with these lines, and ends.
help_if_asked() {
    [[ $1 = -h || $1 = --help ]] || return 0
    shift
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"
    printf '\n' && printf '%s\n' "$@"
    exit 0
}

wrong_usage() {
    echo "usage: $(sed -n '/^#   /{s///p;q;}' "$0"); --help says more" >&2
    exit 2
}
