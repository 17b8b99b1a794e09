"""The handwritten digits that scikit-learn ships: 1797 scans of 8x8 pixels, ten classes."""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from mmengine.dataset import BaseDataset
from numpy.typing import NDArray

from mmagic_adm.compat.environment import require
from mmagic_adm.registry import DATASETS, TRANSFORMS

Split = Literal['train', 'held_out']

SCAN_SIZE = 8
MAX_INK = 16  # A scan counts the inked dots in squares of 4x4.


def load_scans(split: Split) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The scans of a split, (N, 8, 8) with ink from 0 to 1, and their labels.

    Every third scan is held out. The file goes through the classes in turn, so both splits have
    about as many of each.
    """
    if split not in get_args(Split):
        raise ValueError(f'split is one of {", ".join(get_args(Split))}, not {split!r}')
    sklearn = require('sklearn.datasets', 'reading the digits', 'mmagic-adm[digits]')
    digits = sklearn.load_digits()
    held_out = np.arange(len(digits.images)) % 3 == 2
    chosen = held_out if split == 'held_out' else ~held_out
    return digits.images[chosen] / MAX_INK, digits.target[chosen].astype(np.int64)


def enlarge(
    scan: NDArray[np.float64], size: int, shift: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.uint8]:
    """Enlarges a scan to (size, size) by cubic interpolation, on empty paper.

    Args:
        scan: Ink from 0 to 1, (h, w).
        size: Height and width of the result.
        shift: How far to move the digit down and right, in pixels of the scan.
    """
    down, right = shift
    rows = _cubic_weights(size, scan.shape[0], down)
    columns = _cubic_weights(size, scan.shape[1], right)
    ink = np.clip(rows @ scan @ columns.T, 0, 1)
    return np.rint(255 * ink).astype(np.uint8)


def digit_images(split: Split, image_size: int = 16) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All images of a split, (N, image_size, image_size, 1), and their labels."""
    scans, labels = load_scans(split)
    return np.stack([enlarge(scan, image_size) for scan in scans])[..., None], labels


@TRANSFORMS.register_module()
class EnlargeScan:
    """Makes an image of a scan, moved by a random fraction of a pixel.

    Args:
        image_size: Height and width of the image.
        max_shift: How far it moves at most, along each axis, in pixels of the scan.
    """

    def __init__(self, image_size: int = 16, max_shift: float = 0.0) -> None:
        self.image_size = image_size
        self.max_shift = max_shift

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds ``img``, (H, W, 1) uint8."""
        down, right = 0.0, 0.0
        if self.max_shift:
            down, right = results['rng'].uniform(-self.max_shift, self.max_shift, 2)
        image = enlarge(results['scan'], self.image_size, (down, right))
        return {**results, 'img': image[..., None]}


@DATASETS.register_module()
class HandwrittenDigits(BaseDataset):
    """Scans of handwritten digits, for a pipeline that starts with :class:`EnlargeScan`.

    Args:
        split: 'train', 1198 scans, or 'held_out', the other 599.
        pipeline: Transforms.
        **kwargs: Further arguments of MMEngine's BaseDataset.
    """

    METAINFO = dict(classes=tuple('0123456789'))

    def __init__(self, split: Split = 'train', pipeline: Sequence = (), **kwargs: Any) -> None:
        self.split: Split = split
        super().__init__(pipeline=list(pipeline), **kwargs)

    def load_data_list(self) -> list[dict]:
        """One entry a scan: ``scan`` and ``gt_label``."""
        scans, labels = load_scans(self.split)
        return [
            dict(scan=scan, gt_label=int(label)) for scan, label in zip(scans, labels, strict=True)
        ]


def _cubic_weights(size: int, scan_size: int, shift: float) -> NDArray[np.float64]:
    """What each pixel of a line takes from each pixel of the scan's, (size, scan_size)."""
    centres = (np.arange(size) + 0.5) * scan_size / size - 0.5
    distance = np.abs(centres[:, None] - shift - np.arange(scan_size))
    # Keys' kernel with a = -1/2, which reproduces parabolas.
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
