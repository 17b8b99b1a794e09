"""What each method makes of measurements of the bundled digits, and what an image costs.

python benchmarks/digits_restoration.py
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

import torch

from mmagic_adm.apis import init_model
from mmagic_adm.apis.restoring import scheduler_for
from mmagic_adm.datasets.measured import ANOTHER_STREAM
from mmagic_adm.evaluation import PlainClassifierFeatures, psnr
from mmagic_adm.files.download import fetch
from mmagic_adm.files.npz import read_images
from mmagic_adm.files.pictures import as_images, as_uint8
from mmagic_adm.measurements import BoxInpainting, Downsampling, measure
from mmagic_adm.measurements.making import build_method

STEPS, SIGMA_Y = 25, 0.05
SHAPE = (1, 16, 16)
TASKS = {
    'lower half missing': BoxInpainting(SHAPE, 0.5, 0.0, 0.5, 1.0, sigma_y=SIGMA_Y),
    'half the size': Downsampling(SHAPE, 2, sigma_y=SIGMA_Y),
}
DDIM = dict(type='DDIMScheduler', eta=1.0)
JUMPS = dict(type='RePaintScheduler', jump_length=5, jump_repeats=3)
# By name: the method, and its scheduler, if not the one that it was written for.
METHODS: Mapping[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    'MMPS': (dict(type='mmps', iterations=3), DDIM),
    'DPS': (dict(type='dps', scale=1.5), DDIM),
    'DDNM': (dict(type='ddnm'), None),
    'DDNM+': (dict(type='ddnm+'), None),
    'PiGDM': (dict(type='pigdm'), dict(type='DDPMScheduler')),
    'DiffPIR': (dict(type='diffpir'), DDIM),
    'TMPD': (dict(type='tmpd'), DDIM),
    'RePaint': (dict(type='repaint'), JUMPS),
    'TDS, 4 particles': (dict(type='tds', particles=4), None),
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'methods', nargs='*', metavar='METHOD', help=f'of {", ".join(METHODS)} (default: all)'
    )
    parser.add_argument('--count', type=int, default=50, help='scans (default: %(default)s)')
    parser.add_argument('--batch-size', type=int, default=25)
    count, batch = (arguments := parser.parse_args()).count, arguments.batch_size
    torch.set_num_threads(1)
    model = init_model('adm_ddim25_digits-16x16', 'cpu')
    weights = 'bundled://digits-16x16_judge.safetensors'
    judge = PlainClassifierFeatures(dict(type='PlainClassifier'), weights).network
    pixels, classes = read_images(fetch('bundled://digits-16x16_held-out.npz'))
    truth = torch.from_numpy(pixels[:count, :, :, :1].copy()).permute(0, 3, 1, 2)
    labels = torch.from_numpy(classes[:count].copy())
    generators = [torch.Generator().manual_seed(ANOTHER_STREAM + i) for i in range(count)]
    known = {name: measure(as_images(truth), each, generators) for name, each in TASKS.items()}
    print(f'| | {" | ".join(f"{task} | judge" for task in TASKS)} | ms an image |')
    for name in arguments.methods or METHODS:
        method, scheduler = METHODS[name]
        built, cells, begin = build_method(method), [], time.process_time()
        scheduler = scheduler or scheduler_for(built, model)
        for measurement in known.values():
            parts = [
                model.infer(
                    measurement=measurement[rows],
                    restoration=built,
                    labels=labels[rows],
                    seeds=rows.tolist(),
                    # From the noisiest timestep on, where DDIM leaves some out.
                    num_inference_steps=str(STEPS) if scheduler is DDIM else STEPS,
                    scheduler_kwargs=scheduler,
                )['samples']
                for rows in torch.arange(count).split(batch)
            ]
            made = torch.cat(parts)
            right = (judge(made).argmax(dim=1) == labels).float().mean()
            cells += [f'{psnr(as_uint8(made), truth).mean():.1f} dB', f'{right:.0%}']
        cost = (time.process_time() - begin) / (len(TASKS) * count)
        print(f'| {name} | {" | ".join(cells)} | {1000 * cost:.0f} |', flush=True)


if __name__ == '__main__':
    main()
