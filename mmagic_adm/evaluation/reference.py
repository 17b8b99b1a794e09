"""What samples are compared with: images, statistics of their features, or both."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
import torch
from filelock import FileLock
from mmengine.dist import all_gather_object, get_dist_info, is_main_process
from mmengine.logging import print_log
from torch import Tensor
from tqdm import tqdm

from mmagic_adm.evaluation.features import FeatureExtractor, gather_rows, shared
from mmagic_adm.evaluation.frechet import RunningStatistics
from mmagic_adm.evaluation.image_sets import ImageBatch, ImageFolder, ImageSet
from mmagic_adm.files.download import cache_directory, fetch
from mmagic_adm.files.npz import IMAGES, write_batch

# What the family's files call mean and covariance of each kind of features.
STATISTICS = {'pool': ('mu', 'sigma'), 'spatial': ('mu_s', 'sigma_s')}
# Identity of the extractor that the statistics are of; published files do not say.
NETWORK = 'network'
# As many as published files hold for precision and recall.
IMAGES_KEPT = 10_000
BATCH_SIZE = 64


class Reference:
    """Reference batches in the family's format, for any network.

    Args:
        source: Path or URL of an .npz that holds ``arr_0``, or ``mu`` and ``sigma``, or both; or a
            folder of images, of which such a file is made the first time, and kept.

    Attributes:
        images: The images, if there are any.
    """

    def __init__(self, source: str | Path) -> None:
        self.source = source
        self._batch: _Batch | None = None
        self._made: WeakKeyDictionary[FeatureExtractor, _Batch] = WeakKeyDictionary()
        path = Path(source).expanduser()
        if path.is_dir():
            self._folder = ImageFolder(path)
            self.images: ImageSet | None = self._folder
        elif '://' in str(source) or path.is_file():
            self._batch = _Batch(fetch(source), source)
            self.images = self._batch.images
        else:
            raise ValueError(
                f'{source} does not exist; a reference is an .npz, its URL, or a folder of images'
            )

    def check_has_images(self) -> None:
        """Refuses a file of statistics alone."""
        if self._batch is not None:
            self._batch.check_has_images()

    def check_has_statistics(self, kind: str, extractor: FeatureExtractor) -> None:
        """Refuses a file that has neither statistics of these features nor images."""
        if self._batch is not None and kind not in self._batch.kinds_stored(extractor):
            self._batch.check_has_images()

    def statistics(self, kind: str, extractor: FeatureExtractor) -> tuple[Tensor, Tensor]:
        """Mean and covariance of a kind of features; every process must call it."""
        self.check_has_statistics(kind, extractor)
        batch = self._batch_of(extractor)
        if kind in batch.kinds_stored(extractor):
            mu, sigma = (torch.from_numpy(batch.read(name)) for name in STATISTICS[kind])
            return mu, sigma
        running = batch.look(extractor).statistics[kind]
        assert running.mean is not None
        return running.mean, running.covariance

    def features(self, extractor: FeatureExtractor) -> Tensor:
        """The 'pool' features of every image, (N, D); every process must call it."""
        self.check_has_images()
        return self._batch_of(extractor).look(extractor).pool

    def _batch_of(self, extractor: FeatureExtractor) -> _Batch:
        if self._batch is not None:
            return self._batch
        if extractor not in self._made:
            file = make_reference(self._folder, extractor)
            self._made[extractor] = _Batch(file, self.source)
        return self._made[extractor]


class _Batch:
    """One file.

    Args:
        file: The file.
        source: What to call it.
    """

    def __init__(self, file: Path, source: str | Path) -> None:
        self.file, self.source = file, source
        try:
            with np.load(file) as arrays:
                self.names = set(arrays.files)
        except (ValueError, AttributeError, zipfile.BadZipFile) as error:
            raise ValueError(f'{source} is not an .npz file, or a damaged one') from error
        if not self.names & {IMAGES, *(mu for mu, _ in STATISTICS.values())}:
            raise ValueError(
                f'{source} is no reference batch: it has neither images ({IMAGES}) nor '
                f'statistics (mu, sigma), but {", ".join(sorted(self.names)) or "nothing"}'
            )
        self.images = ImageBatch(file) if IMAGES in self.names else None
        self._seen: WeakKeyDictionary[FeatureExtractor, SetFeatures] = WeakKeyDictionary()

    def read(self, name: str) -> np.ndarray:
        """One of its arrays."""
        with np.load(self.file) as arrays:
            return arrays[name]

    def check_has_images(self) -> None:
        """Refuses a file of statistics alone."""
        if self.images is None:
            raise ValueError(
                f'{self.source} has no images, but {", ".join(sorted(self.names))}: a figure '
                'that was asked for takes more; leave it out, or give a reference with images'
            )

    def kinds_stored(self, extractor: FeatureExtractor) -> list[str]:
        """The kinds of features that it has statistics of, if they are of this network."""
        if NETWORK in self.names:
            is_the_network = str(self.read(NETWORK)) == extractor.identity()
        else:
            is_the_network = extractor.is_published
        return [k for k, names in STATISTICS.items() if is_the_network and {*names} <= self.names]

    def look(self, extractor: FeatureExtractor) -> SetFeatures:
        """What it does not say, from its images; every process must call it."""
        assert self.images is not None
        if extractor not in self._seen:
            stored = self.kinds_stored(extractor)
            kinds = [k for k in STATISTICS if k in extractor.kinds and k not in stored]
            self._seen[extractor] = look_at(self.images, extractor, kinds)
        return self._seen[extractor]


def shared_reference(source: str | Path) -> Reference:
    """The reference of a path or URL: the same one for all metrics, as long as any is in use."""
    return shared(_references, str(source), lambda: Reference(source))


_references: WeakValueDictionary[str, Reference] = WeakValueDictionary()


def make_reference(folder: ImageFolder, extractor: FeatureExtractor) -> Path:
    """Makes a reference batch of a folder, or finds the one made earlier of the same files.

    Every process must call it. The file has statistics of all images, and some of the images.

    Args:
        folder: The images.
        extractor: The network to take statistics of.

    Returns:
        The file, in the cache.
    """
    network = extractor.identity()
    made_from = hashlib.sha256(f'{network} {folder.fingerprint()}'.encode()).hexdigest()[:16]
    file = cache_directory() / 'references' / f'{folder.path.resolve().name}_{made_from}.npz'
    if all(all_gather_object(file.is_file())):
        return file

    print_log(f'Making a reference batch of the {folder.count} images in {folder.path}', 'current')
    kinds = [kind for kind in STATISTICS if kind in extractor.kinds]
    arrays = {NETWORK: np.array(network)}
    for kind, statistics in look_at(folder, extractor, kinds, keep_pool=False).statistics.items():
        assert statistics.mean is not None
        mu, sigma = STATISTICS[kind]
        arrays[mu] = statistics.mean.cpu().numpy()
        arrays[sigma] = statistics.covariance.cpu().numpy()
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f'.{file.name}.lock')):
        # One process writes it for all that share the disk.
        if not file.is_file():
            kept = folder.thinned(IMAGES_KEPT)
            pieces = (batch.permute(0, 2, 3, 1).numpy() for batch in kept.batches(BATCH_SIZE))
            write_batch(file, pieces, kept.count, arrays)
    return file


class SetFeatures(NamedTuple):
    """What is known of a set of images.

    Attributes:
        statistics: Mean and covariance, by kind of features.
        pool: The features called 'pool', one row an image; empty where they were not kept.
    """

    statistics: dict[str, RunningStatistics]
    pool: Tensor


def look_at(
    images: ImageSet, extractor: FeatureExtractor, kinds: Collection[str], keep_pool: bool = True
) -> SetFeatures:
    """Features of all images in one pass; every process must call it, and takes its share.

    Args:
        images: The images.
        extractor: The network.
        kinds: The kinds of features to take statistics of.
        keep_pool: Whether to keep the 'pool' features too.
    """
    running = {kind: RunningStatistics() for kind in kinds}
    pool: list[Tensor] = []
    rank, world_size = get_dist_info()
    with tqdm(
        desc=f'features of {images.path.name}',
        total=images.count,
        disable=None if is_main_process() else True,
    ) as bar:
        for batch in images.batches(BATCH_SIZE, rank, world_size):
            features = extractor(batch)
            for kind, statistics in running.items():
                statistics.update(features[kind])
            if keep_pool:
                pool.append(features['pool'].cpu())
            bar.update(min(len(batch) * world_size, images.count - bar.n))
    merged = {kind: statistics.merged() for kind, statistics in running.items()}
    return SetFeatures(merged, gather_rows(pool) if keep_pool else torch.empty(0))
