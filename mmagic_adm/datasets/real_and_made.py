"""Real images, and as many that a model made: what a discriminator is trained on."""

from __future__ import annotations

from typing import Any

from mmagic_adm.registry import DATASETS, build_part

CLASSES = ('made', 'real')


@DATASETS.register_module()
class RealAndMade:
    """Two data sets in one for a :class:`TrainingStream`, labelled 0 for made and 1 for real.

    Of the smaller one some images come more often, so that there are as many of both. The class
    that an image is to show, where it has one, is kept as ``shown``.

    Args:
        real: Config of the data set of real images, or the data set.
        made: The same of what a model made, such as ``NpzImages`` of its samples.
    """

    def __init__(self, real: dict | Any, made: dict | Any) -> None:
        self.parts = [build_part(DATASETS, part) for part in (made, real)]
        self.metainfo = dict(classes=CLASSES)

    def full_init(self) -> None:
        """Reads both lists of images."""
        for part in self.parts:
            part.full_init()

    def __len__(self) -> int:
        """Twice those of the larger one."""
        return 2 * max(map(len, self.parts))

    def get_data_info(self, index: int) -> dict[str, Any]:
        """What is known of an image: in turn of one that was made, and of a real one."""
        place, kind = divmod(index, len(self.parts))
        part = self.parts[kind]
        return {**part.get_data_info(place % len(part)), 'kind': kind}

    def pipeline(self, info: dict[str, Any]) -> dict[str, Any]:
        """The image, by the transforms of its own data set, with its label."""
        item = self.parts[info['kind']].pipeline(info)
        sample = item['data_samples']
        if 'gt_label' in sample:
            sample.set_field(sample.gt_label.label, 'shown')
        sample.set_gt_label(info['kind'])
        return item
