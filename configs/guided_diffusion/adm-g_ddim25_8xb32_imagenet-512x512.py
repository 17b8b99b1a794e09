# Published, at a scale of 9 (ADM, table 14): FID 8.41, sFID 9.67, precision 0.83, recall 0.47.
_base_ = [
    './adm_ddim250_8xb32_imagenet-512x512.py',
    './_base_/models/classifier_imagenet-512x512.py',
]

model = dict(
    classifier={{_base_.classifier}},
    classifier_scale=4.0,
    num_inference_steps=25,
)

weights = dict(classifier='512x512_classifier')
