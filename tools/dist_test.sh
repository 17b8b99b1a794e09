#!/usr/bin/env bash
# Evaluates on several processes: a GPU each, or CPUs where there are no GPUs.
#
#   tools/dist_test.sh CONFIG [CHECKPOINT] PROCESSES [options of tools/test.py]
#
# such as
#
#   tools/dist_test.sh adm_ddim250_8xb32_imagenet-64x64 64x64_diffusion.pt 8 --resume
#
# Without CHECKPOINT it takes the released weights that the config names.
source "$(dirname "$0")/_launch.sh"
launch_processes test 2 "$@"
