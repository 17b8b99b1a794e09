_base_ = ['./adm_ddim25_digits-16x16.py', './_base_/models/classifier_digits-16x16.py']

model = dict(
    classifier={{_base_.classifier}},
    classifier_scale=2.0,
)

weights = dict(classifier='bundled://digits-16x16_classifier.safetensors')
