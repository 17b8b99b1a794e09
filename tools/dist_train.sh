#!/usr/bin/env bash
# Trains on several processes: a GPU each, or CPUs where there are no GPUs.
#
#   tools/dist_train.sh CONFIG PROCESSES [options of tools/train.py]
#
# such as
#
#   tools/dist_train.sh configs/digits/adm_1xb32_digits-16x16.py 2
source "$(dirname "$0")/_launch.sh"
launch_processes train 1 "$@"
