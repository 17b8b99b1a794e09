# The training of adm_8xb32_imagenet-512x512.py on GPUs that hold the network together (FSDP).
# Weights, gradients, averages and the optimiser's state are shared out among them: each needs less
# memory, and there is more traffic between them. A checkpoint of either training goes on with both.
_base_ = ['./adm_8xb32_imagenet-512x512.py']

runner_type = 'FlexibleTrainingRunner'
optim_wrapper = dict(dtype='bfloat16')
