# The figures of today beside the family's, of one pass over the samples by three networks, with
# intervals. DINOv2 and CLIP need a reference with images: the family's, of 10,000.
_base_ = ['./edm2-s_heun32_8xb32_imagenet-64x64.py']

test_evaluator = dict(
    reference='https://openaipublic.blob.core.windows.net/diffusion/jul-2021/ref_batches/'
    'imagenet/64/VIRTUAL_imagenet64_labeled.npz',
    metrics=['is', 'fid', 'sfid', 'fd_dinov2', 'kid', 'prdc', 'prdc:dinov2', 'cmmd'],
    repeats=20,
)
