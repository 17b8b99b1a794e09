# The figures of today beside the family's, of one pass over the samples by three networks, with
# intervals. The reference is the same, whose 10,000 images DINOv2 and CLIP look at once.
_base_ = ['./adm-g_ddim25_8xb32_imagenet-64x64.py']

test_evaluator = dict(
    metrics=['is', 'fid', 'sfid', 'fd_dinov2', 'kid', 'prdc', 'prdc:dinov2', 'cmmd'],
    repeats=20,
)
