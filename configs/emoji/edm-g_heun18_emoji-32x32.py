_base_ = ['./edm_heun18_emoji-32x32.py', './_base_/models/classifier_emoji-32x32.py']

model = dict(classifier={{_base_.classifier}}, classifier_scale=2.0)

weights = dict(classifier='bundled://emoji-32x32_classifier.safetensors')
