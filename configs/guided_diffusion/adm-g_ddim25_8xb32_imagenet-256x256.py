# Published, at a scale of 2.5 (ADM, table 14): FID 5.44, sFID 5.32, precision 0.81, recall 0.49.
_base_ = [
    './adm_ddim250_8xb32_imagenet-256x256.py',
    './_base_/models/classifier_imagenet-256x256.py',
]

model = dict(
    classifier={{_base_.classifier}},
    classifier_scale=1.0,
    num_inference_steps=25,
)

weights = dict(classifier='256x256_classifier')
