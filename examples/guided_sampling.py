"""Samples the same digits at three guidance scales, one row each, into outputs/guided.png.

    python examples/guided_sampling.py

Takes seconds on a CPU. To copy it for ImageNet, change the name of the model and the labels:
``list_models()`` lists the models, and labels are numbers or names, such as 'hamster'.
"""

from pathlib import Path

import torch

from mmagic_adm.apis import init_model, sample
from mmagic_adm.files.pictures import as_pictures, contact_sheet

# A U-Net and a noise-aware classifier. Weights come with the package here, and are downloaded for
# models of other names. The model is on a GPU if there is one; device='cpu' says otherwise.
model = init_model(
    'adm-g_ddim25_digits-16x16',
    # Any argument of the model may be changed. This guides in the noisier half of the 1000
    # timesteps only, which costs half as much; leave it out to guide in every step.
    guidance=dict(type='ClassifierGuidance', interval=(500, 1000)),
)

rows = []
for scale in (0.0, 2.0, 8.0):  # 0 is without guidance
    result = sample(
        model,
        labels=range(10),  # one image of each class; repeated where num_samples is larger
        seed=0,  # image i has the seed 0 + i: the same noise at each scale
        batch_size=10,  # images at a time
        steps=25,
        scale=scale,
    )
    images = result['samples']  # (10, 1, 16, 16) in [-1, 1], on the CPU
    print(f'scale {scale:g}: mean brightness {images.mean():.3f}, labels {result["labels"]}')
    rows.append(images)

out = Path('outputs/guided.png')
out.parent.mkdir(exist_ok=True)
contact_sheet(as_pictures(torch.cat(rows)), columns=10).save(out)
print(out)
