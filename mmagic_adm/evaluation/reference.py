"""What samples are compared with: images, statistics of their features, or both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_dist_info, is_main_process
from mmengine.logging import print_log
from torch import Tensor
from tqdm import tqdm

from mmagic_adm.checkpoints.unpickling import unpickle
from mmagic_adm.evaluation.features import FeatureExtractor, shared
from mmagic_adm.evaluation.image_sets import ImageBatch, ImageSet, Resize, open_images
from mmagic_adm.evaluation.kept import Rows, RunningStatistics, Sums
from mmagic_adm.files.alone import LOCK, alone_with
from mmagic_adm.files.download import cache_directory, fetch
from mmagic_adm.files.npz import IMAGES, read_arrays, read_names
from mmagic_adm.files.whole import read_json, reading, write_json, written_whole

# What the family's files call mean and covariance of each kind of features.
STATISTICS = {'pool': ('mu', 'sigma'), 'spatial': ('mu_s', 'sigma_s')}
# What files of ours have besides: the extractor's identity, which published files do not say; the
# features of single images, with the images' numbers and classes; and the images' fingerprint.
NETWORK, FEATURES, NUMBERS, LABELS, CONTENT = 'network', 'features', 'number', 'label', 'images'
# Of so many images the features are kept one by one, evenly spaced where there are more.
ROWS_KEPT = 50_000
BATCH_SIZE = 64


class Reference:
    """A reference for any network: statistics as published, or images of any kind.

    Of images, statistics and features are made the first time, and kept in the cache in a file
    that is named after the images' content and the network. It is a reference itself, for that
    network.

    Args:
        source: Path or URL of an .npz that holds ``arr_0``, or ``mu`` and ``sigma``, or both; or
            of a .pkl of EDM2's; or what else :func:`open_images` opens.
        resize: What to bring the images to one size by.

    Attributes:
        images: The images, if there are any.
    """

    def __init__(self, source: str | Path | dict, resize: Resize | None = None) -> None:
        self.source = source
        self.images: ImageSet | None = None
        self._file: Path | None = None
        self._names: list[str] = []
        self._published: Mapping[str, Any] = {}
        self._made: WeakKeyDictionary[FeatureExtractor, Path] = WeakKeyDictionary()
        if isinstance(source, dict) or Path(source).expanduser().is_dir():
            self.images = open_images(source, resize)
        elif '://' in str(source) or Path(source).expanduser().is_file():
            self._file = fetch(source)
            if str(source).endswith('.pkl'):
                self._published = _published_in(self._file, source)
                self._names = sorted(self._published)
            else:
                self._names = _names_in(self._file, source)
                if IMAGES in self._names:
                    self.images = ImageBatch(self._file, resize)
        else:
            raise ValueError(
                f'{source} does not exist; a reference is an .npz or .pkl, its URL, a folder of '
                'images, a database, or the config of a data set'
            )

    def check_has_images(self) -> None:
        """Refuses a file of statistics alone."""
        if self.images is None and FEATURES not in self._names:
            raise ValueError(
                f'{self.source} has no images, but {", ".join(self._names)}: a figure that was '
                'asked for takes more; leave it out, or give a reference with images'
            )

    def check_has_labels(self) -> None:
        """Refuses images without classes."""
        if self.images is not None and self.images.labels is None:
            raise ValueError(
                f'{self.source} has no classes; those of an .npz are in arr_1, one number an image'
            )

    def check_has_statistics(self, kind: str, extractor: FeatureExtractor) -> None:
        """Refuses a file that has neither statistics of these features nor images."""
        if not self._has_statistics(kind, extractor):
            self.check_has_images()

    def statistics(self, kind: str, extractor: FeatureExtractor) -> tuple[Tensor, Tensor]:
        """Mean and covariance of a kind of features; every process must call it."""
        self.check_has_statistics(kind, extractor)
        names = STATISTICS[kind]
        if not self._has_statistics(kind, extractor):
            mu, sigma = read_arrays(self._made_with(extractor), names).values()
        elif self._published:
            mu, sigma = (self._published[extractor.published_as][name] for name in names)
        else:
            assert self._file is not None
            mu, sigma = read_arrays(self._file, names).values()
        if mu.ndim != 1 or sigma.shape != 2 * mu.shape or mu.dtype.kind != 'f':
            raise ValueError(
                f'{self.source} holds no statistics: {names} are of the shapes {mu.shape} and '
                f'{sigma.shape}'
            )
        return torch.from_numpy(mu), torch.from_numpy(sigma)

    def rows(self, extractor: FeatureExtractor) -> Rows:
        """The 'pool' features of every image; every process must call it."""
        self.check_has_images()
        is_stored = FEATURES in self._names and self._is_of(extractor)
        file = self._file if is_stored and self._file else self._made_with(extractor)
        arrays = read_arrays(file, (FEATURES, NUMBERS, LABELS))
        return Rows(*map(torch.from_numpy, arrays.values()))

    def fingerprint(self) -> str:
        """Tells its content from any other's: the images' if they were looked at, or the file's."""
        for file in self._made.values():
            return str(read_arrays(file, [CONTENT])[CONTENT])
        return hashlib.sha256(self._file.read_bytes()).hexdigest()[:16] if self._file else ''

    def _has_statistics(self, kind: str, extractor: FeatureExtractor) -> bool:
        if self._published:
            return kind == 'pool' and extractor.published_as in self._published
        return {*STATISTICS[kind]} <= {*self._names} and self._is_of(extractor)

    def _is_of(self, extractor: FeatureExtractor) -> bool:
        """Whether what a file has besides images is of this network."""
        if NETWORK in self._names and self._file:
            return read_arrays(self._file, [NETWORK])[NETWORK] == extractor.identity()
        return extractor.published_as == 'fid'

    def _made_with(self, extractor: FeatureExtractor) -> Path:
        """The file of what the network sees in the images; every process must call it."""
        if self.images is None:
            raise ValueError(
                f'{self.source} has features of another network than '
                f'{type(extractor).__name__} with these weights, and no images to look at'
            )
        if extractor not in self._made:
            self._made[extractor] = features_file(self.images, extractor)
        return self._made[extractor]


def _names_in(file: Path, source: str | Path) -> list[str]:
    """What a reference batch holds."""
    names = sorted(read_names(file))
    if not {IMAGES, *(mu for mu, _ in STATISTICS.values())}.intersection(names):
        raise ValueError(
            f'{source} is no reference batch: it has neither images ({IMAGES}) nor statistics '
            f'(mu, sigma), but {", ".join(names) or "nothing"}'
        )
    return names


def _published_in(file: Path, source: str | Path) -> dict[str, dict[str, np.ndarray]]:
    """Statistics in a file of EDM2's, by its names of them; nothing in it is run."""
    content = unpickle(file)
    parts = content if isinstance(content, dict) else {}
    found = {
        name: {each: np.asarray(part[each]) for each in STATISTICS['pool']}
        for name, part in parts.items()
        if isinstance(part, dict) and {*STATISTICS['pool']} <= part.keys()
    }
    if not found:
        raise ValueError(f"{source} is no reference of EDM2's: it has no mu and sigma of anything")
    return found


def shared_reference(source: str | Path | dict | Reference) -> Reference:
    """The reference of a source: the same one for all metrics, as long as any is in use."""
    if isinstance(source, Reference):
        return source
    key = source if isinstance(source, dict) else str(source)
    return shared(_references, key, lambda: Reference(source))


_references: WeakValueDictionary[str, Reference] = WeakValueDictionary()


def features_file(images: ImageSet, extractor: FeatureExtractor) -> Path:
    """Makes the file of what a network sees in images in the cache, or finds it there.

    Every process must call it. Whoever makes it of the same images finds the same name: it is of
    their pixels and classes, wherever they lie. A note beside it says so of those that lie here,
    so that they are not read again.
    """
    network, folder = extractor.identity(), cache_directory() / 'references'
    note = folder / f'{_short(f"{network} {images.resize} {images.stamp()}")}.json'
    everywhere = all_gather_object(_noted_in(note))
    if everywhere[0] and all(each == everywhere[0] for each in everywhere):
        return folder / everywhere[0]

    print_log(f'Looking at the {images.count} images in {images.path}, once for all', 'current')
    arrays = look_at(images, extractor)
    file = folder / f'{arrays[CONTENT]}_{_short(network)}.npz'
    folder.mkdir(parents=True, exist_ok=True)
    with alone_with(folder / f'.{file.name}{LOCK}'):
        # One process writes it for all that share the disk.
        if not file.is_file():
            size = sum(array.nbytes for array in arrays.values())
            with (
                written_whole(file, size, overwrite=True) as temporary,
                temporary.open('wb') as out,
            ):
                np.savez(out, **arrays)  # type: ignore[arg-type]
        write_json(note, dict(file=file.name), overwrite=True)
    return file


def _noted_in(note: Path) -> str:
    """The name of the file that a note speaks of, if both are there."""
    if not note.is_file():
        return ''
    with reading(note, 'delete it'):
        name = str(read_json(note, 'delete it')['file'])
    return name if (note.parent / name).is_file() else ''


def look_at(images: ImageSet, extractor: FeatureExtractor) -> dict[str, np.ndarray]:
    """What a network sees in images, in one pass, as a file of ours has it.

    Every process must call it, and takes its share.
    """
    running = {kind: RunningStatistics() for kind in STATISTICS if kind in extractor.kinds}
    rows, content = Rows(), Sums()
    labels = (
        torch.full((images.count,), -1) if images.labels is None else torch.tensor(images.labels)
    )
    kept = min(images.count, ROWS_KEPT)
    is_kept = torch.zeros(images.count, dtype=torch.bool)
    is_kept[torch.arange(kept) * images.count // kept] = True
    rank, world_size = get_dist_info()
    with tqdm(
        desc=f'features of {images.path.name}',
        total=images.count,
        disable=None if is_main_process() else True,
    ) as bar:
        for turn, batch in enumerate(images.batches(BATCH_SIZE, rank, world_size)):
            begin = (rank + turn * world_size) * BATCH_SIZE
            numbers = torch.arange(begin, begin + len(batch))
            features = extractor(batch)
            for kind, statistics in running.items():
                statistics.update(features[kind])
            chosen = is_kept[numbers]
            rows.update(Rows(features['pool'], numbers, labels[numbers])[chosen])
            for image, label in zip(batch, labels[numbers].tolist(), strict=True):
                pixels = image.numpy().tobytes() + f'{tuple(image.shape)} {label}'.encode()
                content['sum'] += int.from_bytes(hashlib.sha256(pixels).digest(), 'big')
            bar.update(min(len(batch) * world_size, images.count - bar.n))
    rows, whole = rows.merged(), content.merged()['sum'] % (1 << 256)
    arrays = {
        NETWORK: np.array(extractor.identity()),
        CONTENT: np.array(f'{whole:064x}'[:16]),
        FEATURES: rows.features.numpy(),
        NUMBERS: rows.numbers.numpy(),
        LABELS: rows.labels.numpy(),
    }
    for kind, statistics in running.items():
        mu, sigma = STATISTICS[kind]
        merged = statistics.merged()
        arrays |= {mu: merged.mean.cpu().numpy(), sigma: merged.covariance.cpu().numpy()}
    return arrays


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
