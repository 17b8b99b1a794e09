# Guided at every second step, twice as strongly: half of the classifier's calls.
_base_ = ['./adm-g_ddim25_8xb32_imagenet-256x256.py']

model = dict(guidance=dict(type='ClassifierGuidance', every=2))
