#!/usr/bin/env python
"""The figures in the model card of what ships: how good samples are, and how new.

Samples with each config of a family, and asks the judge: another kind of network, trained on images
that neither the U-Net nor its guide has seen.

    python benchmarks/bundled_figures.py digits-16x16 --seeds 1000000 --sheets sheets/
    python benchmarks/bundled_figures.py emoji-32x32 --scales 0 0.5 1 2 --seeds 1000000 2000000

With several seeds, figures are means over them, and what they differ by stands below.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from mmagic_adm.apis import init_model
from mmagic_adm.configs import list_models
from mmagic_adm.datasets.digits import digit_images, enlarge, load_scans
from mmagic_adm.datasets.emoji import Emoji, on_white
from mmagic_adm.evaluation import (
    PlainClassifierFeatures,
    RunningStatistics,
    frechet_distance,
    precision_recall,
)
from mmagic_adm.files.pictures import as_images, as_pictures, as_uint8, contact_sheet

BATCH = 250
ROW = '{:40}{:>9}{:>8}{:>10}{:>8}{:>9}{:>9}{:>8}'
HEADS = ('', 'accuracy', 'FID', 'precision', 'recall', 'nearest', 'copies', 's')
FORMATS = ('{:.2%}', '{:.3f}', '{:.3f}', '{:.3f}', '{:.4f}', '{:.2%}', '{:.1f}')
EMOJI = 'data/emoji/node_modules'

Split = Any
Labelled = tuple[Tensor, Tensor]


class Family(NamedTuple):
    """Bundled models of one kind of images.

    Attributes:
        num_classes: Classes of images.
        judge: Config of the network that recognises them.
        images_of: Gives a split: images, (N, C, H, W) uint8, and their labels.
        training_images: Gives the images that training could have shown, about, as uint8 batches.
    """

    num_classes: int
    judge: Mapping[str, Any]
    images_of: Callable[[Split], Labelled]
    training_images: Callable[[], Iterable[Tensor]]


def digits_of(split: Split) -> Labelled:
    """Scans of a split."""
    images, labels = digit_images(split)
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)


def moved_digits() -> Iterable[Tensor]:
    """Every training scan, moved by as much as training moves it at most."""
    scans, _ = load_scans('train')
    for shift in itertools.product((-0.5, -0.25, 0.0, 0.25, 0.5), repeat=2):
        yield torch.stack([torch.from_numpy(enlarge(scan, 16, shift)) for scan in scans])


@functools.cache
def emoji_of(split: Split, root: str = EMOJI) -> Labelled:
    """Drawings of a split."""
    dataset = Emoji(root, split)
    dataset.full_init()
    entries = [dataset.get_data_info(i) for i in range(len(dataset))]
    images = np.stack([on_white(entry['gt_path'], 32) for entry in entries])
    labels = torch.tensor([entry['gt_label'] for entry in entries])
    return torch.from_numpy(images).permute(0, 3, 1, 2), labels


def moved_emoji() -> Iterable[Tensor]:
    """Every training drawing and its mirror image, moved by a pixel each way."""
    images = emoji_of('train')[0]
    for shift in itertools.product((-1, 0, 1), repeat=2):
        moved = images.roll(shift, dims=(2, 3))
        yield from (moved, moved.flip(3))


FAMILIES = {
    'digits-16x16': Family(10, dict(type='PlainClassifier'), digits_of, moved_digits),
    'emoji-32x32': Family(
        8,
        dict(
            type='PlainClassifier',
            in_channels=3,
            out_channels=8,
            widths=(24, 48, 48, 96, 96, 128),
            num_features=64,
        ),
        emoji_of,
        moved_emoji,
    ),
}


class Judge:
    """Knows what images show, and how near they are to those of training.

    Args:
        name: The family.
        device: Where it works.
        weights: The network's; None takes those that ship.
    """

    def __init__(
        self, name: str, device: str | torch.device = 'cpu', weights: str | None = None
    ) -> None:
        self.family, self.device = FAMILIES[name], device
        weights = weights or f'bundled://{name}_judge.safetensors'
        self.extractor = PlainClassifierFeatures(dict(self.family.judge), weights).to(device)
        self.network = self.extractor.network
        held_out, self.reference_labels = self.family.images_of('held_out')
        self.reference = self.features(held_out)
        self.training = [as_images(batch).flatten(1) for batch in self.family.training_images()]
        self.held_out_distances = self.distances(held_out)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """What it sees in images."""
        return self.network.features(as_images(images).to(self.device)).cpu()

    @torch.no_grad()
    def labels(self, images: Tensor) -> Tensor:
        """What they show."""
        return self.network(as_images(images).to(self.device)).argmax(1).cpu()

    def distances(self, images: Tensor) -> Tensor:
        """For each image the mean squared distance of a pixel to the nearest training image."""
        rows = as_images(images).flatten(1).to(self.device)
        nearest = [torch.cdist(rows, batch.to(self.device)).amin(1) for batch in self.training]
        return (torch.stack(nearest).amin(0).square() / rows.shape[1]).cpu()

    def fid(self, features: Tensor) -> float:
        """The Fréchet distance between features of images and of the held-out ones."""
        statistics = RunningStatistics(), RunningStatistics()
        for each, rows in zip(statistics, (features, self.reference), strict=True):
            each.update(rows)
        ours, theirs = statistics
        return frechet_distance(ours.mean, ours.covariance, theirs.mean, theirs.covariance)

    def write_reference(self, file: Path) -> None:
        """Writes its features of the held-out images, for a config's evaluation."""
        mean, covariance = self.reference.double().mean(0), self.reference.double().T.cov()
        network, features = np.array(self.extractor.identity()), self.reference.numpy()
        np.savez_compressed(
            file,
            mu=mean.numpy(),
            sigma=covariance.numpy(),
            features=features,
            number=np.arange(len(features)),
            label=self.reference_labels.numpy(),
            network=network,
        )

    def figures(self, images: Tensor, labels: Tensor) -> list[float]:
        """What `HEADS` says, but for the time."""
        features = self.features(images)
        right = (self.labels(images) == labels).float().mean()
        distances = self.distances(images)
        # Nearer to a training image than all but a hundredth of the held-out images are.
        copies = (distances < self.held_out_distances.quantile(0.01)).float().mean()
        fidelity = precision_recall(self.reference, features)
        return [*map(float, (right, self.fid(features), *fidelity, distances.median(), copies))]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('family', choices=FAMILIES)
    parser.add_argument('--configs', nargs='+', help="(default: all of the family's)")
    parser.add_argument('--num-samples', type=int, default=1000)
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        default=[1_000_000],
        help='of the first sample, for each row',
    )
    parser.add_argument('--steps', help="instead of the configs' own")
    parser.add_argument('--scheduler', help="likewise: 'DDIMScheduler'")
    parser.add_argument('--scales', type=float, nargs='+', default=[None])
    parser.add_argument('--sheets', type=Path, help='folder for contact sheets')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--write', type=Path, help='file for features of held-out images')
    arguments = parser.parse_args()

    judge = Judge(arguments.family, arguments.device)
    if arguments.write:
        judge.write_reference(arguments.write)
        return
    print(ROW.format(*HEADS))
    for split in ('held_out', 'train'):
        report(f'{split} images', [[*judge.figures(*judge.family.images_of(split)), 0]])
    labels = torch.arange(arguments.num_samples) % judge.family.num_classes
    for config in arguments.configs or list_models(f'*_{arguments.family}'):
        model = init_model(config, arguments.device)
        for scale in arguments.scales:
            rows = []
            for seed in arguments.seeds:
                begin = time.perf_counter()
                images = sample(model, labels, seed, arguments.steps, scale, arguments.scheduler)
                rows.append([*judge.figures(images, labels), time.perf_counter() - begin])
            name = config if scale is None else f'{config} @ {scale:g}'
            report(name, rows)
            if arguments.sheets:
                show(judge, images, labels, arguments.sheets / f'{name}.png')


def report(name: str, rows: Sequence[Sequence[float]]) -> None:
    """Prints the means of rows, and what they differ by."""
    table = torch.tensor(rows, dtype=torch.float64)
    print(ROW.format(name, *map(str.format, FORMATS, table.mean(0).tolist())), flush=True)
    if len(rows) > 1:
        spread = table.std(0).tolist()
        print(ROW.format('  ±', *map(str.format, FORMATS, spread)), flush=True)


def sample(
    model: Any,
    labels: Tensor,
    seed: int,
    steps: str | None = None,
    scale: float | None = None,
    scheduler: str | None = None,
) -> Tensor:
    """Samples as they would be stored, (N, C, H, W) uint8."""
    made = []
    for start in range(0, len(labels), BATCH):
        batch = labels[start : start + BATCH]
        seeds = range(seed + start, seed + start + len(batch))
        result = model.infer(
            seeds=seeds,
            labels=batch,
            num_inference_steps=steps,
            classifier_scale=scale,
            scheduler_kwargs=scheduler and dict(type=scheduler),
        )
        made.append(as_uint8(result['samples']).cpu())
    return torch.cat(made)


def show(judge: Judge, images: Tensor, labels: Tensor, file: Path) -> None:
    """Draws some of each class, and those that the judge takes for another."""
    file.parent.mkdir(parents=True, exist_ok=True)
    classes = range(judge.family.num_classes)
    by_class = torch.cat([images[labels == label][:10] for label in classes])
    contact_sheet(as_pictures(by_class), columns=10).save(file)
    wrong = images[judge.labels(images) != labels]
    if len(wrong):
        contact_sheet(as_pictures(wrong)).save(file.with_stem(f'{file.stem}_wrong'))


if __name__ == '__main__':
    main()
