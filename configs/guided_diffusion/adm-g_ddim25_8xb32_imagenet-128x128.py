# Published, at a scale of 1.25 (ADM, table 14): FID 5.98, sFID 7.04, precision 0.78, recall 0.51.
_base_ = [
    './adm_ddim250_8xb32_imagenet-128x128.py',
    './_base_/models/classifier_imagenet-128x128.py',
]

model = dict(
    classifier={{_base_.classifier}},
    classifier_scale=1.0,
    num_inference_steps=25,
)

weights = dict(classifier='128x128_classifier')
