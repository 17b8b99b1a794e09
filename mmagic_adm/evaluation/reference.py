"""What samples are compared with: images, statistics of their features, or both."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_dist_info, is_main_process
from mmengine.logging import print_log
from torch import Tensor
from tqdm import tqdm

from mmagic_adm.evaluation.features import FeatureExtractor, gather_rows, shared
from mmagic_adm.evaluation.frechet import RunningStatistics
from mmagic_adm.evaluation.image_sets import ImageBatch, ImageFolder, ImageSet
from mmagic_adm.files.alone import LOCK, alone_with
from mmagic_adm.files.download import cache_directory, fetch
from mmagic_adm.files.npz import IMAGES, read_arrays, read_names, write_batch

# What the family's files call mean and covariance of each kind of features.
STATISTICS = {'pool': ('mu', 'sigma'), 'spatial': ('mu_s', 'sigma_s')}
# Identity of the extractor that the statistics are of; published files do not say.
NETWORK = 'network'
# The 'pool' features of each image, where they stand in for images that are not passed on.
FEATURES = 'features'
# Statistics by kind of features, and the 'pool' features of each image where they were kept.
SetFeatures = tuple[dict[str, RunningStatistics], Tensor]
# As many as published files hold for precision and recall.
IMAGES_KEPT = 10_000
BATCH_SIZE = 64


class Reference:
    """Reference batches in the family's format, for any network.

    Args:
        source: Path or URL of an .npz that holds ``arr_0``, or ``mu`` and ``sigma``, or both, or
            ``features`` in place of images; or a folder of images, of which such a file is made the
            first time, and kept.

    Attributes:
        images: The images, if there are any.
    """

    def __init__(self, source: str | Path) -> None:
        self.source = source
        self._of_folder: WeakKeyDictionary[FeatureExtractor, Path] = WeakKeyDictionary()
        self._seen: WeakKeyDictionary[FeatureExtractor, SetFeatures] = WeakKeyDictionary()
        self._file: Path | None = None
        path = Path(source).expanduser()
        if path.is_dir():
            self.images: ImageSet | None = ImageFolder(path)
        elif '://' in str(source) or path.is_file():
            self._file = fetch(source)
            self._names = _names_in(self._file, source)
            self.images = ImageBatch(self._file) if IMAGES in self._names else None
        else:
            raise ValueError(
                f'{source} does not exist; a reference is an .npz, its URL, or a folder of images'
            )

    def check_has_images(self) -> None:
        """Refuses a file of statistics alone."""
        if self.images is None:
            raise ValueError(
                f'{self.source} has no images, but {", ".join(self._names)}: a figure that was '
                'asked for takes more; leave it out, or give a reference with images'
            )

    def check_has_features(self, extractor: FeatureExtractor) -> None:
        """Refuses a file that has neither features of each image nor images."""
        if self._file is None or not _has_features(self._file, extractor):
            self.check_has_images()

    def check_has_statistics(self, kind: str, extractor: FeatureExtractor) -> None:
        """Refuses a file that has neither statistics of these features nor images."""
        if self._file is None or kind not in _kinds_in(self._file, extractor):
            self.check_has_images()

    def statistics(self, kind: str, extractor: FeatureExtractor) -> tuple[Tensor, Tensor]:
        """Mean and covariance of a kind of features; every process must call it."""
        self.check_has_statistics(kind, extractor)
        file = self._file_for(extractor)
        if kind in _kinds_in(file, extractor):
            mu, sigma = read_arrays(file, STATISTICS[kind]).values()
            if mu.ndim != 1 or sigma.shape != 2 * mu.shape or mu.dtype.kind != 'f':
                raise ValueError(
                    f'{self.source} holds no statistics: {STATISTICS[kind]} are of the shapes '
                    f'{mu.shape} and {sigma.shape}'
                )
            return torch.from_numpy(mu), torch.from_numpy(sigma)
        running = self._look(extractor)[0][kind]
        return running.mean, running.covariance

    def features(self, extractor: FeatureExtractor) -> Tensor:
        """The 'pool' features of every image, (N, D); every process must call it."""
        self.check_has_features(extractor)
        if self._file is not None and _has_features(self._file, extractor):
            return torch.from_numpy(read_arrays(self._file, [FEATURES])[FEATURES])
        return self._look(extractor)[1]

    def _file_for(self, extractor: FeatureExtractor) -> Path:
        if self._file is not None:
            return self._file
        if extractor not in self._of_folder:
            assert isinstance(self.images, ImageFolder)
            self._of_folder[extractor] = make_reference(self.images, extractor)
        return self._of_folder[extractor]

    def _look(self, extractor: FeatureExtractor) -> SetFeatures:
        """All that the file has images for and does not say."""
        if extractor not in self._seen:
            file = self._file_for(extractor)
            stored = _kinds_in(file, extractor)
            kinds = [k for k in STATISTICS if k in extractor.kinds and k not in stored]
            self._seen[extractor] = look_at(ImageBatch(file), extractor, kinds)
        return self._seen[extractor]


def _names_in(file: Path, source: str | Path) -> list[str]:
    """What a reference batch holds."""
    names = sorted(read_names(file))
    if not {IMAGES, *(mu for mu, _ in STATISTICS.values())}.intersection(names):
        raise ValueError(
            f'{source} is no reference batch: it has neither images ({IMAGES}) nor statistics '
            f'(mu, sigma), but {", ".join(names) or "nothing"}'
        )
    return names


def _kinds_in(file: Path, extractor: FeatureExtractor) -> list[str]:
    """The kinds of features that a file has statistics of, if they are of this network."""
    names = read_names(file) if _is_of(file, extractor) else []
    return [kind for kind in STATISTICS if {*STATISTICS[kind]} <= {*names}]


def _has_features(file: Path, extractor: FeatureExtractor) -> bool:
    return FEATURES in read_names(file) and _is_of(file, extractor)


def _is_of(file: Path, extractor: FeatureExtractor) -> bool:
    """Whether what a file says of features is of those that this network sees."""
    if NETWORK in read_names(file):
        return bool(read_arrays(file, [NETWORK])[NETWORK] == extractor.identity())
    return extractor.is_published


def shared_reference(source: str | Path) -> Reference:
    """The reference of a path or URL: the same one for all metrics, as long as any is in use."""
    return shared(_references, str(source), lambda: Reference(source))


_references: WeakValueDictionary[str, Reference] = WeakValueDictionary()


def make_reference(folder: ImageFolder, extractor: FeatureExtractor) -> Path:
    """Makes a reference batch of a folder in the cache, or finds one of the same files there.

    Every process must call it. The file has statistics of all images, and some of the images.
    """
    network = extractor.identity()
    made_from = hashlib.sha256(f'{network} {folder.fingerprint()}'.encode()).hexdigest()[:16]
    file = cache_directory() / 'references' / f'{folder.path.resolve().name}_{made_from}.npz'
    if all(all_gather_object(file.is_file())):
        return file

    print_log(f'Making a reference batch of the {folder.count} images in {folder.path}', 'current')
    kinds = [kind for kind in STATISTICS if kind in extractor.kinds]
    arrays = {NETWORK: np.array(network)}
    for kind, statistics in look_at(folder, extractor, kinds, keep_pool=False)[0].items():
        mu, sigma = STATISTICS[kind]
        arrays[mu] = statistics.mean.cpu().numpy()
        arrays[sigma] = statistics.covariance.cpu().numpy()
    file.parent.mkdir(parents=True, exist_ok=True)
    with alone_with(file.with_name(f'.{file.name}{LOCK}')):
        # One process writes it for all that share the disk.
        if not file.is_file():
            kept = folder.thinned(IMAGES_KEPT)
            pieces = (batch.permute(0, 2, 3, 1).numpy() for batch in kept.batches(BATCH_SIZE))
            write_batch(file, pieces, kept.count, arrays)
    return file


def look_at(
    images: ImageSet, extractor: FeatureExtractor, kinds: Collection[str], keep_pool: bool = True
) -> SetFeatures:
    """Features of all images in one pass; every process must call it, and takes its share.

    Statistics are taken of the kinds named, and the 'pool' features kept too if asked for.
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
    return merged, gather_rows(pool) if keep_pool else torch.empty(0)
