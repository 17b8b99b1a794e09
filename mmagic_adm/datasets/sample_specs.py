"""What to sample: for each sample its index, its seed and its label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import Dataset

from mmagic_adm.arguments import whole
from mmagic_adm.diffusion.randomness import check_seeds
from mmagic_adm.registry import DATASETS

Labels = str | int | Sequence[int] | None


@DATASETS.register_module()
class SampleSpecs(Dataset):
    """The samples of a run, in the form that a model's ``test_step`` takes.

    What sample i is depends on i, ``seed`` and ``labels`` alone, so runs of other lengths, or cut
    into other pieces, make the same samples.

    Args:
        num_samples: How many to make.
        labels: 'uniform' has the model draw each label from the sample's own generator, as
            ``infer`` does of the same seed, and is refused by a model without classes; None leaves
            it to the model whether there are any to draw; 'balanced' counts through the classes; a
            number is the label of all samples; a list is gone through again and again.
        num_classes: Number of classes that 'balanced' counts through, and that numbers are held
            to. What is drawn is one of the model's own.
        seed: Sample i has the seed ``seed + i``.
        start: Index of the first sample.
    """

    def __init__(
        self,
        num_samples: int,
        labels: Labels = 'uniform',
        num_classes: int = 1000,
        seed: int = 0,
        start: int = 0,
    ) -> None:
        whole(num_samples, 'num_samples is how many to make')
        whole(seed, 'seed counts from 0 up', 0)
        check_seeds(seed + whole(start, 'start counts from 0 up', 0), num_samples)
        if num_classes < 1:
            raise ValueError(f'num_classes is {num_classes}; without classes, labels is None')
        self.num_samples = num_samples
        self.seed = seed
        self.start = start
        self._labels = None if labels is None else _cycle(labels, num_classes)

    @property
    def metainfo(self) -> dict[str, Any]:
        """What metrics are told of the samples beforehand."""
        return dict(num_samples=self.num_samples, start=self.start)

    @property
    def made_from(self) -> Mapping[str, Any]:
        """All that sample i follows from, but for i."""
        return dict(seed=self.seed, labels=self._labels)

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, position: int) -> dict[str, dict[str, Any]]:
        if not 0 <= position < self.num_samples:
            raise IndexError(f'there are {self.num_samples} samples, and no number {position}')
        index = self.start + position
        spec: dict[str, int | None] = dict(index=index, seed=self.seed + index)
        if self._labels is not None:
            spec['label'] = self._labels[index % len(self._labels)]
        return dict(inputs=spec)


def _cycle(labels: str | int | Sequence[int], num_classes: int) -> Sequence[int | None]:
    """The labels that samples take by turns; None is to be drawn."""
    if labels == 'uniform':
        return [None]
    if labels == 'balanced':
        return range(num_classes)
    if isinstance(labels, str):
        raise ValueError(f"labels is 'uniform', 'balanced', numbers or None, not {labels!r}")
    listed = [labels] if isinstance(labels, int) else [int(label) for label in labels]
    if not listed:
        raise ValueError('labels is an empty list; None leaves them to the model')
    for label in listed:
        if not 0 <= label < num_classes:
            raise ValueError(
                f'label {label} is out of range: num_classes={num_classes} has 0 to '
                f'{num_classes - 1}'
            )
    return listed
