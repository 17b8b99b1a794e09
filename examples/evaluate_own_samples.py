"""Compares samples of your own, in a folder or an .npz, with a reference, and prints the figures.

    python examples/evaluate_own_samples.py                     # digits that it makes for itself
    python examples/evaluate_own_samples.py SAMPLES REFERENCE   # yours, by the Inception network

SAMPLES and REFERENCE are folders of RGB images, or .npz files with images as `arr_0`, (N, H, W, 3)
uint8. A reference may also be one of the published batches, by path or URL, such as
VIRTUAL_imagenet64_labeled.npz. Figures of fewer than 10,000 samples are for a look only.
"""

import sys
from pathlib import Path

from mmagic_adm.apis import init_model, sample
from mmagic_adm.evaluation import evaluate, write_batch
from mmagic_adm.files.pictures import as_array, as_pictures

# The network whose features are compared. None is the Inception network of 2015, as in papers; it
# is downloaded once, and needs `pip install "mmagic-adm[evaluation]"`.
INCEPTION = None

# For digits a network that knows digits does better. This one comes with the package.
JUDGE = dict(
    type='PlainClassifierFeatures',
    classifier=dict(type='PlainClassifier'),
    weights='bundled://digits-16x16_judge.safetensors',
)


def make_digits(folder: Path, count: int = 100) -> None:
    """Fills a folder with images, as any sampler might."""
    folder.mkdir(parents=True, exist_ok=True)
    model = init_model('adm_ddim25_digits-16x16')
    images = sample(model, range(10), num_samples=count, seed=0, batch_size=50)['samples']
    pictures = [picture.convert('RGB') for picture in as_pictures(images)]
    for i, picture in enumerate(pictures):
        picture.save(folder / f'{i:06d}.png')
    # The same as one file, which is how samples are exchanged.
    write_batch(folder.with_suffix('.npz'), [as_array(pictures)], count)


if len(sys.argv) == 3:
    figures = evaluate(reference=sys.argv[2], samples=sys.argv[1], features=INCEPTION)
else:
    mine = Path('outputs/my_digits')
    make_digits(mine)
    figures = evaluate('bundled://digits-16x16_held-out.npz', mine, features=JUDGE)

for name, value in figures.items():
    print(f'{name}: {value:.3f}')
