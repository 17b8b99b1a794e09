#!/usr/bin/env bash
# Evaluates on a Slurm cluster: torchrun on each machine, with a process for each GPU.
#
#   tools/slurm_test.sh PARTITION JOB_NAME CONFIG [CHECKPOINT] [options of tools/test.py]
#
# such as
#
#   GPUS=16 tools/slurm_test.sh gpu fid adm_ddim250_8xb32_imagenet-64x64 --resume
#
# Without CHECKPOINT it takes the released weights that the config names.
source "$(dirname "$0")/_launch.sh"
launch_job test 2 "$@"
