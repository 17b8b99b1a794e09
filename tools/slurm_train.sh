#!/usr/bin/env bash
# Trains on a Slurm cluster: torchrun on each machine, with a process for each GPU.
#
#   tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of tools/train.py]
#
# such as
#
#   GPUS=16 tools/slurm_train.sh gpu adm-64 adm_8xb32_imagenet-64x64
source "$(dirname "$0")/_launch.sh"
launch_job train 1 "$@"
