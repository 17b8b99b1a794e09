"""Labels that a model has a class for, and others."""

from typing import Any

from mmengine.dataset import BaseDataset


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
