"""What a walk starts from; and following it to its end, with the model left as it was."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from mmagic_adm.arguments import whole
from mmagic_adm.codecs import Codec
from mmagic_adm.schedulers import Step

Watcher = Callable[[Step], None]

# x_T has unit variance; no entry of a normal tensor of any size comes near this.
IMPLAUSIBLE_NOISE = 20.0


def checked_noise(noise: Tensor, shape: Sequence[int]) -> Tensor:
    """Noise of this shape, (N, C, H, W), which one row may stand for; refuses what is none."""
    if tuple(noise.shape[1:]) != tuple(shape[1:]) or len(noise) not in (1, shape[0]):
        raise ValueError(
            f'the noise to start from has shape {(*noise.shape,)}, this model starts from '
            f'{(*shape,)}'
        )
    if not noise.is_floating_point() or noise.abs().max() > IMPLAUSIBLE_NOISE:
        raise ValueError(
            'the noise to start from, x_T, has mean 0 and variance 1; this one is '
            f'{noise.dtype} with values from {noise.min()} to {noise.max()}'
        )
    return noise.float().expand(*shape)


def checked_images(images: Tensor, shape: Sequence[int]) -> Tensor:
    """Images of this shape, (C, H, W), in [-1, 1]; refuses others."""
    if images.ndim != 4 or tuple(images.shape[1:]) != tuple(shape):
        listed = ', '.join(map(str, ('N', *shape)))
        raise ValueError(
            f'images have shape {(*images.shape,)}; the model wants ({listed}). PIL crops and '
            f'resizes a picture by ImageOps.fit(picture, {(*shape[:0:-1],)})'
        )
    if images.abs().max() > 1.001:
        raise ValueError(
            f'images have values from {images.min():g} to {images.max():g}; they should be in '
            '[-1, 1]'
        )
    return images.float()


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """While this lasts, a model and all in it are in evaluation mode; then as they were."""
    trained = [module for module in model.modules() if module.training]
    # Not by train(), which tells a model that it is being trained.
    for module in trained:
        module.training = False
    try:
        yield
    finally:
        for module in trained:
            module.training = True


def follow(
    walk: Iterator[Step], watchers: Sequence[Watcher], show_progress: bool, codec: Codec
) -> Tensor:
    """Walks to the end, showing each step to the watchers; gives the last sample."""
    with tqdm(disable=not show_progress) as bar:
        for step in walk:
            bar.total = step.total
            bar.update()
            for watch in watchers:
                watch(replace(step, codec=codec))
    return step.sample


class Trajectory:
    """Keeps every ``every``-th step of the reverse process, and the last, decoded, on the CPU."""

    def __init__(self, every: int) -> None:
        self.every = whole(every, 'a trajectory keeps every k-th step, k from 1 on')
        self.steps: list[Step] = []

    def __call__(self, step: Step) -> None:
        """Keeps a step if it is its turn."""
        if step.index % self.every == 0 or step.index == step.total - 1:
            x_t, x_0 = (step.codec.decode(x).cpu() for x in (step.sample, step.pred_x0))
            self.steps.append(replace(step, sample=x_t, pred_x0=x_0))

    def as_dict(self) -> dict[str, Any]:
        """The kept steps: ``timesteps``, ``levels``, ``x_t`` and ``pred_x0``, (S, N, C, H, W)."""
        return dict(
            timesteps=[float(step.timestep) for step in self.steps],
            levels=[step.level for step in self.steps],
            x_t=torch.stack([step.sample for step in self.steps]),
            pred_x0=torch.stack([step.pred_x0 for step in self.steps]),
        )
