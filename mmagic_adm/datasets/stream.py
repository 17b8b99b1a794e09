"""A data set as training sees it: an endless stream, in which item p is item p, with labels."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from mmagic.structures import DataSample
from mmengine.dataset import BaseDataset
from mmengine.dist import get_dist_info
from mmengine.logging import print_log
from mmengine.registry import FUNCTIONS
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from mmagic_adm.files.pictures import UnreadableImageError
from mmagic_adm.registry import DATA_SAMPLERS, DATASETS

# Keep the random streams of the order and of the items apart.
OF_ORDER, OF_ITEM = 0, 1


@DATASETS.register_module()
class TrainingStream(Dataset):
    """A data set in the order that training sees it: shuffled anew each time round, without end.

    What stands at a position of the stream, and every random number its transforms draw, depends
    on the seed and the position alone: not on the number of workers or processes, nor on where
    training was stopped and resumed. Transforms find their random numbers in ``results['rng']``.

    Images that cannot be read are reported by name and replaced by the next one.

    Args:
        dataset: A data set of MMEngine's kind, such as :class:`ImageFolder` or MMagic's ImageNet.
        seed: Of the order and the transforms.
        max_unreadable: Unreadable images that are put up with; one more ends training.
    """

    def __init__(
        self, dataset: dict | BaseDataset, seed: int = 0, max_unreadable: int = 100
    ) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.seed = seed
        self.max_unreadable = max_unreadable
        self.dataset.full_init()
        # Shared by the loader's workers, which together stay within the limit.
        self._unreadable = torch.zeros(len(self.dataset), dtype=torch.bool).share_memory_()
        self._round = -1
        self._order: NDArray[np.int64]

    @property
    def metainfo(self) -> dict:
        """That of the data set."""
        return self.dataset.metainfo

    def __len__(self) -> int:
        """Items before the order is shuffled again."""
        return len(self.dataset)

    def __getitem__(self, position: int) -> Any:
        """What stands at a position, from 0 on without end."""
        for place in range(position, position + len(self)):
            index = self._index_at(place)
            if self._unreadable[index]:
                continue
            info = self.dataset.get_data_info(index)
            info['rng'] = np.random.default_rng((self.seed, position, OF_ITEM))
            try:
                return self.dataset.pipeline(info)
            except UnreadableImageError as error:
                self._put_up_with(index, error)
        raise UnreadableImageError(f'none of the {len(self)} images can be read')

    def _index_at(self, place: int) -> int:
        round_, offset = divmod(place, len(self))
        if round_ != self._round:
            rng = np.random.default_rng((self.seed, round_, OF_ORDER))
            self._order = rng.permutation(len(self))
            self._round = round_
        return int(self._order[offset])

    def _put_up_with(self, index: int, error: UnreadableImageError) -> None:
        self._unreadable[index] = True
        count = int(self._unreadable.sum())
        if count > self.max_unreadable:
            raise UnreadableImageError(
                f'{error}. That makes {count} unreadable images, more than '
                f'max_unreadable={self.max_unreadable} allows'
            ) from error
        print_log(f'{error}. Skipped ({count} so far)', 'current', logging.WARNING)


@DATA_SAMPLERS.register_module()
class StreamSampler(Sampler[int]):
    """Deals the positions of a :class:`TrainingStream` to the processes in turn.

    Args:
        dataset: The stream.
        start: First position to deal, the same on every process.
        seed: For the stream in place of its own; a runner gives that of its ``randomness``.
    """

    def __init__(self, dataset: TrainingStream, start: int = 0, seed: int | None = None) -> None:
        if seed is not None:
            dataset.seed = seed
        self.size = len(dataset)
        self.start = start
        self.rank, self.world_size = get_dist_info()

    def __iter__(self) -> Iterator[int]:
        """This process's positions, without end."""
        return itertools.count(self.start + self.rank, self.world_size)

    def __len__(self) -> int:
        """Items before the order is shuffled again."""
        return self.size


@FUNCTIONS.register_module()
def stacked_images(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A batch in one piece, put together by the loader's workers: to hand over many takes longer.

    A data loader's ``collate_fn``, for images of one size.

    Args:
        items: What `PackTrainingImage` gives.
    """
    return dict(
        inputs=torch.stack([item['inputs'] for item in items]),
        data_samples=DataSample.stack([item['data_samples'] for item in items]),
    )


def check_labels(dataset: BaseDataset, num_classes: int) -> None:
    """Refuses a data set with a label that a model has no class for, before any image is read.

    Args:
        dataset: The data set; one without labels passes.
        num_classes: Classes that the model has.

    Raises:
        ValueError: There is such a label; the message names it and the first image that has it.
    """
    for index in range(len(dataset)):
        # The base class's own: a subclass's may read the image too.
        info: dict[str, Any] = BaseDataset.get_data_info(dataset, index)
        label = info.get('gt_label')
        if label is not None and not 0 <= int(label) < num_classes:
            raise ValueError(
                f'{info.get("gt_path", f"image {index}")} has the label {label}, but the model '
                f'num_classes={num_classes}, with labels from 0 to {num_classes - 1}: give it more '
                'classes, or leave images like this one out'
            )
