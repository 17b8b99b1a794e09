"""Images in one .npz file, in the family's format."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from numpy.typing import NDArray

from mmagic_adm.files.npz import read_images
from mmagic_adm.registry import DATASETS


@DATASETS.register_module()
class NpzImages(BaseDataset):
    """Images of one size: ``arr_0``, (N, H, W, C) uint8, and optionally ``arr_1``, their labels.

    Args:
        ann_file: The file.
        num_classes: Classes that the model has; a label beyond them is refused.
        pipeline: Transforms.
        **kwargs: Further arguments of MMEngine's BaseDataset.
    """

    def __init__(
        self,
        ann_file: str,
        num_classes: int | None = None,
        pipeline: Sequence = (),
        **kwargs: Any,
    ) -> None:
        self.num_classes = num_classes
        self.images: NDArray[np.uint8]
        super().__init__(ann_file=ann_file, pipeline=list(pipeline), **kwargs)

    def load_data_list(self) -> list[dict]:
        """One entry an image: ``number``, ``gt_path`` to speak of it by, and ``gt_label``."""
        self.images, labels = read_images(self.ann_file)
        if labels is not None:
            self._check_labels(labels)
        infos = [dict(number=i, gt_path=f'{self.ann_file}[{i}]') for i in range(len(self.images))]
        if labels is not None:
            for info, label in zip(infos, labels, strict=True):
                info['gt_label'] = int(label)
        return infos

    def get_data_info(self, idx: int) -> dict:
        """Adds the image itself, ``img``, to the entry."""
        info = super().get_data_info(idx)
        return {**info, 'img': self.images[info['number']]}

    def _check_labels(self, labels: NDArray[np.integer]) -> None:
        if self.num_classes is None:
            return
        if labels.min() < 0 or labels.max() >= self.num_classes:
            raise ValueError(
                f'{self.ann_file} has labels from {labels.min()} to {labels.max()}, the model '
                f'num_classes={self.num_classes}'
            )
