"""Images on disk: in a folder, in one .npz, or in LSUN's databases."""

import logging
import os
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Literal, get_args

import numpy as np
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log
from numpy.typing import NDArray

from mmagic_adm.compat.environment import require
from mmagic_adm.files.download import fetch
from mmagic_adm.files.npz import read_images
from mmagic_adm.files.pictures import list_images
from mmagic_adm.registry import DATASETS

LabelFrom = Literal['folder', 'file_name', 'nothing']

# By folder: the process that opened LSUN's database, and the database. A process may open each
# only once, and must not use one that it inherited.
_open_databases: dict[str, tuple[int, Any]] = {}


@DATASETS.register_module()
class ImageFolder(BaseDataset):
    """All images in a folder and those below it.

    Classes are numbered in the order of their names.

    Args:
        data_root: The folder.
        label_from: Where the class's name stands: 'folder', the name of the subfolder;
            'file_name', the part of it before the first underscore; or 'nothing', for images
            without classes.
        pipeline: Transforms.
        **kwargs: Further arguments of MMEngine's BaseDataset.
    """

    def __init__(
        self,
        data_root: str,
        label_from: LabelFrom = 'folder',
        pipeline: Sequence = (),
        **kwargs: Any,
    ) -> None:
        if label_from not in get_args(LabelFrom):
            raise ValueError(
                f'label_from is one of {", ".join(get_args(LabelFrom))}, not {label_from!r}'
            )
        self.label_from: LabelFrom = label_from
        super().__init__(data_root=data_root, pipeline=list(pipeline), **kwargs)

    def load_data_list(self) -> list[dict]:
        """One entry an image: ``gt_path`` and, with classes, ``gt_label``."""
        files = list_images(self.data_root)
        infos: list[dict] = [dict(gt_path=os.path.join(self.data_root, file)) for file in files]
        if self.label_from == 'nothing':
            return infos
        names = [self._class_name(file) for file in files]
        classes = sorted(set(names))
        if len(classes) == 1:
            print_log(
                f'All images in {self.data_root} are of one class, {classes[0]!r}. If they have '
                "none, give label_from='nothing' and an unconditional network",
                'current',
                logging.WARNING,
            )
        self._metainfo.setdefault('classes', tuple(classes))
        labels = {name: label for label, name in enumerate(classes)}
        return [dict(info, gt_label=labels[name]) for info, name in zip(infos, names, strict=True)]

    def _class_name(self, file: str) -> str:
        path = PurePath(file)
        if self.label_from == 'file_name':
            return path.name.split('_')[0]
        if len(path.parts) == 1:
            raise ValueError(
                f'{file} lies in {self.data_root} itself and so in no class: put it in a folder '
                "named after its class, or give label_from='file_name' or 'nothing'"
            )
        return path.parts[0]


@DATASETS.register_module()
class NpzImages(BaseDataset):
    """Images of one size: ``arr_0``, (N, H, W, C) uint8, and optionally ``arr_1``, their labels.

    Args:
        ann_file: The file, or its URL.
        pipeline: Transforms.
        **kwargs: Further arguments of MMEngine's BaseDataset.
    """

    def __init__(self, ann_file: str, pipeline: Sequence = (), **kwargs: Any) -> None:
        self.images: NDArray[np.uint8]
        super().__init__(ann_file=str(fetch(ann_file)), pipeline=list(pipeline), **kwargs)

    def load_data_list(self) -> list[dict]:
        """One entry an image: ``number``, ``gt_path`` to speak of it by, and ``gt_label``."""
        self.images, labels = read_images(self.ann_file)
        infos = [dict(number=i, gt_path=f'{self.ann_file}[{i}]') for i in range(len(self.images))]
        if labels is not None:
            for info, label in zip(infos, labels, strict=True):
                info['gt_label'] = int(label)
        return infos

    def get_data_info(self, idx: int) -> dict:
        """Adds the image itself, ``img``, to the entry."""
        info = super().get_data_info(idx)
        return {**info, 'img': self.images[info['number']]}


@DATASETS.register_module()
class LSUN(BaseDataset):
    """The images of one of LSUN's categories, as distributed: an lmdb database of encoded images.

    They have no labels. The pipeline starts with ``ReadImage``.

    Args:
        data_root: The database's folder, such as 'bedroom_train_lmdb'.
        pipeline: Transforms.
        **kwargs: Further arguments of MMEngine's BaseDataset.
    """

    def __init__(self, data_root: str, pipeline: Sequence = (), **kwargs: Any) -> None:
        super().__init__(data_root=data_root, pipeline=list(pipeline), **kwargs)

    def load_data_list(self) -> list[dict]:
        """One entry an image: ``key`` in the database, and ``gt_path`` to speak of it by."""
        with _opened(self.data_root).begin() as transaction:
            keys = list(transaction.cursor().iternext(keys=True, values=False))
        if not keys:
            raise ValueError(f'the database {self.data_root} is empty')
        return [dict(key=key, gt_path=f'{self.data_root}:{key.decode()}') for key in keys]

    def get_data_info(self, idx: int) -> dict:
        """Adds the image as stored, ``encoded``, to the entry."""
        info = super().get_data_info(idx)
        with _opened(self.data_root).begin() as transaction:
            return {**info, 'encoded': transaction.get(info['key'])}


def _opened(folder: str) -> Any:
    """The database in a folder, opened by this process."""
    opener, database = _open_databases.get(folder, (None, None))
    if opener == os.getpid():
        return database
    if not os.path.isdir(folder):
        raise FileNotFoundError(f'there is no database {folder}')
    lmdb = require('lmdb', 'reading LSUN', 'lmdb')
    if database is not None:
        database.close()
    database = lmdb.open(folder, readonly=True, lock=False, readahead=False)
    _open_databases[folder] = os.getpid(), database
    return database
