#!/usr/bin/env python
"""The figures in the model card of the bundled digits: how good samples are, and how new.

Samples with each of the configs that ship, and asks the judge: another kind of network, trained on
scans that neither the U-Net nor its guide has seen.

    python benchmarks/digits_figures.py --seed 1000000 --sheets sheets/
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from mmagic_adm.apis import init_model
from mmagic_adm.checkpoints import config_directory
from mmagic_adm.datasets.digits import digit_images, enlarge, load_scans
from mmagic_adm.evaluation import RunningStatistics, frechet_distance, precision_recall
from mmagic_adm.files.download import BUNDLED
from mmagic_adm.files.pictures import as_images, as_pictures, as_uint8, contact_sheet
from mmagic_adm.networks.plain_classifier import PlainClassifier

CONFIGS = sorted(path.stem for path in (config_directory() / 'digits').glob('*_ddim25_*.py'))
BATCH = 250
# Pixels of a scan that a training image was moved by at most, and the steps to search it in.
SHIFTS = (-0.5, -0.25, 0.0, 0.25, 0.5)
ROW = '{:34}{:>9}{:>8}{:>10}{:>8}{:>9}{:>9}{:>8}'


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--configs', nargs='+', default=CONFIGS)
    parser.add_argument('--num-samples', type=int, default=1000)
    parser.add_argument('--seed', type=int, default=1_000_000, help='of the first sample')
    parser.add_argument('--steps', help="instead of the configs' own")
    parser.add_argument('--scales', type=float, nargs='+', default=[None])
    parser.add_argument('--sheets', type=Path, help='folder for contact sheets')
    arguments = parser.parse_args()

    judge = Judge()
    held_out, held_out_labels = images_of('held_out')
    trained, trained_labels = images_of('train')
    reference = judge.features(held_out)
    training_images = shifted_training_images()
    held_out_distances = nearest_distances(held_out, training_images)
    print(ROW.format('', 'accuracy', 'FID', 'precision', 'recall', 'nearest', 'copies', 's'))

    def report(name: str, images: Tensor, labels: Tensor, seconds: float) -> None:
        features = judge.features(images)
        precision, recall = precision_recall(reference, features)
        distances = nearest_distances(images, training_images)
        # Nearer to a training image than all but a hundredth of the held-out scans are.
        copies = distances < held_out_distances.quantile(0.01)
        figures = [
            f'{float((judge.labels(images) == labels).float().mean()):.2%}',
            f'{fid(features, reference):.3f}',
            f'{precision:.3f}',
            f'{recall:.3f}',
            f'{float(distances.median()):.4f}',
            f'{float(copies.float().mean()):.2%}',
            f'{seconds:.1f}',
        ]
        print(ROW.format(name, *figures), flush=True)

    report('held-out scans (the judge knows)', held_out, held_out_labels, 0)
    report('training scans', trained, trained_labels, 0)
    labels = torch.arange(arguments.num_samples) % 10
    for config in arguments.configs:
        model = init_model(config, device='cpu')
        for scale in arguments.scales:
            begin = time.perf_counter()
            images = sample(model, labels, arguments.seed, arguments.steps, scale)
            name = config if scale is None else f'{config} @ {scale:g}'
            report(name, images, labels, time.perf_counter() - begin)
            if arguments.sheets:
                arguments.sheets.mkdir(parents=True, exist_ok=True)
                by_class = torch.cat([images[labels == label][:10] for label in range(10)])
                contact_sheet(as_pictures(by_class)).resize((720, 720), 0).save(
                    arguments.sheets / f'{name}.png'
                )
                wrong = images[judge.labels(images) != labels]
                if len(wrong):
                    contact_sheet(as_pictures(wrong)).save(arguments.sheets / f'{name}_wrong.png')


def sample(model, labels: Tensor, seed: int, steps: str | None, scale: float | None) -> Tensor:
    """Samples as they would be stored, (N, 1, 16, 16) uint8."""
    made = []
    for start in range(0, len(labels), BATCH):
        batch = labels[start : start + BATCH]
        seeds = range(seed + start, seed + start + len(batch))
        result = model.infer(
            seeds=seeds, labels=batch, num_inference_steps=steps, classifier_scale=scale
        )
        made.append(as_uint8(result['samples']))
    return torch.cat(made)


class Judge:
    """Recognises digits."""

    def __init__(self) -> None:
        self.network = PlainClassifier()
        state = load_file(BUNDLED / 'digits-16x16_judge.safetensors')
        self.network.load_state_dict(
            {
                key: tensor.float() if tensor.is_floating_point() else tensor
                for key, tensor in state.items()
            }
        )
        self.network.eval()

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """What it sees in images, (N, 64)."""
        return self.network.features(as_images(images))

    @torch.no_grad()
    def labels(self, images: Tensor) -> Tensor:
        """Which digits they are."""
        return self.network(as_images(images)).argmax(1)


def images_of(split) -> tuple[Tensor, Tensor]:
    """Images of a split, (N, 1, 16, 16) uint8, and their labels."""
    images, labels = digit_images(split)
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)


def fid(features: Tensor, reference: Tensor) -> float:
    """The Fréchet distance between two sets of features."""
    statistics = RunningStatistics(), RunningStatistics()
    for each, rows in zip(statistics, (features, reference), strict=True):
        each.update(rows)
    ours, theirs = statistics
    return frechet_distance(ours.mean, ours.covariance, theirs.mean, theirs.covariance)


def shifted_training_images() -> Tensor:
    """Every training scan at every shift that training could show it at, about, (N, 256)."""
    scans, _ = load_scans('train')
    images = [enlarge(s, 16, (down, right)) for s in scans for down in SHIFTS for right in SHIFTS]
    return as_images(torch.stack([torch.from_numpy(image) for image in images])).flatten(1)


def nearest_distances(images: Tensor, training_images: Tensor) -> Tensor:
    """For each image the mean squared distance of a pixel to the nearest training image."""
    rows = as_images(images).flatten(1)
    distances = [torch.cdist(part, training_images).amin(1) for part in rows.split(100)]
    return torch.cat(distances).square() / rows.shape[1]


if __name__ == '__main__':
    main()
