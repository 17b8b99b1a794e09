_base_ = ['./edm_heun18_emoji-32x32.py']

# (1 + s) times what is said for the class, less s times what is said for none.
model = dict(guidance=dict(type='ClassifierFreeGuidance', scale=1.0))
