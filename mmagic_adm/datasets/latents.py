"""Images as latents that are encoded once and kept, to train a model of latents on."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import BaseDataset
from mmengine.device import get_device
from mmengine.dist import barrier, get_dist_info
from mmengine.logging import print_log
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from mmagic_adm.arguments import whole
from mmagic_adm.codecs import AutoencoderCodec
from mmagic_adm.datasets.transforms import PackTrainingImage
from mmagic_adm.files.pictures import UnreadableImageError, as_images
from mmagic_adm.files.whole import read_json, write_json, written_whole
from mmagic_adm.registry import DATASETS, MODELS, TRANSFORMS, build_part

ABOUT = 'about.json'


@DATASETS.register_module()
class LatentImages(BaseDataset):
    """The latents of another data set's images.

    They are encoded when they are first wanted, by all processes there are, and kept in a folder,
    so many images to a file; where that broke off it goes on. Kept are the means and standard
    deviations that the encoder says, of each image and of its mirror image.

    Args:
        images: Config of the data set; its pipeline gives ``img``, (H, W, C) uint8.
        codec: Config of the autoencoder.
        folder: Where the latents are kept.
        mirrors: Whether images are mirrored at random.
        shard_size: Images to a file.
        num_workers: Processes that read images.
        pipeline: Transforms, of which DrawLatent is the first; none is that and PackTrainingImage.
        **kwargs: Further arguments of MMEngine's BaseDataset.
    """

    def __init__(
        self,
        images: dict,
        codec: dict,
        folder: str,
        mirrors: bool = True,
        shard_size: int = 1024,
        num_workers: int = 4,
        pipeline: Sequence = (),
        **kwargs: Any,
    ) -> None:
        self.folder, self.mirrors, self.num_workers = Path(folder), mirrors, num_workers
        self.shard_size = whole(shard_size, 'shard_size is how many images a file has')
        self._images = build_part(DATASETS, images)
        self._codec = dict(codec)
        self._made_from = dict(
            codec=codec, pipeline=images.get('pipeline'), mirrors=mirrors, shard_size=shard_size
        )
        super().__init__(pipeline=list(pipeline) or [DrawLatent(), PackTrainingImage()], **kwargs)

    def load_data_list(self) -> list[dict]:
        """The entries of the images' own data set."""
        self._images.full_init()
        self._metainfo.update(self._images.metainfo)
        # The base class's own: a subclass's may read the image too.
        return [BaseDataset.get_data_info(self._images, i) for i in range(len(self._images))]

    def full_init(self) -> None:
        """Reads the list of images, and encodes those of which there are no latents yet."""
        if not self._fully_initialized:
            super().full_init()
            self._claim_folder()
            self._encode_missing()

    def get_data_info(self, idx: int) -> dict:
        """Adds what was kept, ``moments``, to the entry: (versions, 2, C, h, w)."""
        info = super().get_data_info(idx)
        shard, row = divmod(idx % len(self), self.shard_size)
        return {**info, 'moments': _mapped(self._file(shard))[row]}

    def _file(self, shard: int) -> Path:
        return self.folder / f'latents-{shard:05d}.npy'

    def _claim_folder(self) -> None:
        """Refuses a folder of other latents."""
        self.folder.mkdir(parents=True, exist_ok=True)
        now = json.loads(json.dumps(dict(self._made_from, images=len(self)), default=str))
        file, is_first = self.folder / ABOUT, get_dist_info()[0] == 0
        if is_first and not file.exists():
            write_json(file, now, overwrite=False)
        barrier()
        there = read_json(file, 'choose another folder for the latents')
        differing = [name for name in now if there.get(name) != now[name]]
        if differing:
            name = differing[0]
            raise ValueError(
                f'{self.folder} holds latents of other images: {name} was {there.get(name)}, and '
                f'is {now[name]}; choose another folder'
            )

    def _encode_missing(self) -> None:
        rank, world_size = get_dist_info()
        shards = range(rank, -(-len(self) // self.shard_size), world_size)
        missing = [shard for shard in shards if not self._file(shard).exists()]
        if missing:
            print_log(f'encoding {len(missing)} files of latents into {self.folder}', 'current')
            codec = build_part(MODELS, self._codec).to(get_device())
            for shard in missing:
                self._encode(shard, codec)
        barrier()

    def _encode(self, shard: int, codec: AutoencoderCodec) -> None:
        """Writes a file; of an image that cannot be read there is no number in it."""
        first, end = shard * self.shard_size, min((shard + 1) * self.shard_size, len(self))
        side, versions = codec.image_size // codec.factor, 1 + self.mirrors
        shape = (end - first, versions, 2, codec.latent_channels, side, side)
        moments = np.full(shape, np.nan, np.float32)
        pixels = Subset(_Pixels(self._images), range(first, end))
        batches = DataLoader(
            pixels, codec.slice_size, num_workers=self.num_workers, collate_fn=list
        )
        for i, batch in enumerate(batches):
            for row, image in enumerate(batch, i * codec.slice_size):
                if image is not None:
                    moments[row] = self._moments(image, codec)
        with (
            written_whole(self._file(shard), moments.nbytes, overwrite=False) as temporary,
            temporary.open('wb') as file,
        ):
            np.save(file, moments)

    @torch.no_grad()
    def _moments(self, image: Tensor, codec: AutoencoderCodec) -> NDArray[np.float32]:
        """What is kept of an image, (versions, 2, C, h, w)."""
        if image.shape[1:] != (codec.image_size, codec.image_size):
            raise ValueError(
                f'an image is of {image.shape[1]}x{image.shape[2]} pixels, and the codec is for '
                f'{codec.image_size}: end the pipeline of the images with CenterSquare'
            )
        images = as_images(image[None].to(get_device()))
        versions = torch.cat([images, images.flip(3)]) if self.mirrors else images
        mean, std = codec.moments(versions)
        return torch.stack([mean, std * codec.draws], dim=1).cpu().numpy()


class _Pixels(Dataset):
    """The pixels of a data set's images, (C, H, W); None of those that cannot be read."""

    def __init__(self, images: BaseDataset) -> None:
        self.images = images

    def __getitem__(self, index: int) -> Tensor | None:
        try:
            image = self.images.pipeline(self.images.get_data_info(index))['img']
        except UnreadableImageError as error:
            print_log(f'{error}. It gets no latents', 'current', logging.WARNING)
            return None
        return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


@TRANSFORMS.register_module()
class DrawLatent:
    """Draws latents as the encoder says they may be, of the image or of its mirror image."""

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds ``img``, (h, w, C) float32."""
        rng, moments = results['rng'], results['moments']
        mean, std = moments[rng.integers(len(moments))]
        if np.isnan(mean[0, 0, 0]):
            raise UnreadableImageError(f'{results.get("gt_path")} could not be read and encoded')
        latents = mean + std * rng.standard_normal(mean.shape, dtype=np.float32)
        return {**results, 'img': latents.transpose(1, 2, 0)}


@functools.cache
def _mapped(file: Path) -> NDArray[np.float32]:
    return np.load(file, mmap_mode='r', allow_pickle=False)
