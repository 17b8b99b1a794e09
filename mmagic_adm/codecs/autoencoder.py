"""Latents of an autoencoder, as diffusers has it: Stable Diffusion's, or one's own."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from mmagic_adm.arguments import whole
from mmagic_adm.checkpoints.checkpoint import read_document
from mmagic_adm.checkpoints.loading import fitted
from mmagic_adm.checkpoints.model_folder import AUTOENCODER, PART_WEIGHTS, Part, part_config
from mmagic_adm.checkpoints.zoo import source_of
from mmagic_adm.codecs.codec import Codec, Draw, Shape
from mmagic_adm.compat.environment import require
from mmagic_adm.files.download import fetch
from mmagic_adm.files.whole import CheckpointError
from mmagic_adm.registry import MODELS

# Stable Diffusion's, in diffusers' arguments.
STABLE_DIFFUSION = dict(
    down_block_types=('DownEncoderBlock2D',) * 4,
    up_block_types=('UpDecoderBlock2D',) * 4,
    block_out_channels=(128, 256, 512, 512),
    layers_per_block=2,
)
# What older files call the parts of its attention.
OLD_NAMES = {'query': 'to_q', 'key': 'to_k', 'value': 'to_v', 'proj_attn': 'to_out.0'}


class Scaling(NamedTuple):
    """Latents are (z - shift) · scale, of what the encoder says; one for all channels or each."""

    scale: float | Sequence[float] = 1.0
    shift: float | Sequence[float] = 0.0


SCALINGS = {
    'stable_diffusion': Scaling(0.18215),
    # Whitened, with a standard deviation of a half.
    'edm2': Scaling([0.5 / std for std in (4.17, 4.62, 3.71, 3.28)], (5.81, 3.25, 0.12, -2.15)),
}


@MODELS.register_module()
class AutoencoderCodec(Codec):
    """Encodes images by diffusers' AutoencoderKL, and decodes them.

    It computes in float32 whatever the networks do. Its weights have a file of their own: they are
    in no checkpoint of a model, and no optimiser sees them. It goes where the model goes.

    Args:
        image_size: Height and width of the images, in pixels.
        weights: Name ('sd-vae-ft-ema', 'sd-vae-ft-mse'), path or URL of a safetensors file; or a
            folder as diffusers writes it, of the autoencoder or of a pipeline. None leaves it as
            it was initialised.
        autoencoder: Arguments of AutoencoderKL; None is Stable Diffusion's, or what the folder
            says.
        scaling: 'stable_diffusion', 'edm2', or a dict with ``scale`` and ``shift``: a number, or
            one for each channel.
        draws: Whether latents of images are drawn as the encoder says, or its means.
        slice_size: Images that are encoded, decoded and looked at together, to fit into memory.
    """

    def __init__(
        self,
        image_size: int,
        weights: str | Path | None = 'sd-vae-ft-ema',
        autoencoder: Mapping[str, Any] | None = None,
        scaling: str | Mapping[str, Any] = 'stable_diffusion',
        draws: bool = True,
        slice_size: int = 1,
    ) -> None:
        super().__init__()
        self.image_size, self.draws = image_size, draws
        self.slice_size = whole(slice_size, 'slice_size is how many images to decode together')
        diffusers = require('diffusers', 'AutoencoderCodec', 'mmagic-adm[solvers]')
        file, said = (None, {}) if weights is None else _found(weights)
        built = diffusers.AutoencoderKL(**(autoencoder or said or STABLE_DIFFUSION))
        # In a tuple, so that torch does not register it here.
        self._frozen = (built.requires_grad_(False).eval(),)
        if file is not None:
            load_autoencoder(built, file)
        self.scaling = _scaling(scaling, self.latent_channels)
        if image_size % self.factor:
            raise ValueError(
                f'image_size {image_size} does not divide into the squares of {self.factor} pixels '
                'that the autoencoder makes a latent of'
            )

    @property
    def autoencoder(self) -> Any:
        """The AutoencoderKL."""
        return self._frozen[0]

    @property
    def factor(self) -> int:
        """How many pixels on a side a latent stands for."""
        return 2 ** (len(self.autoencoder.config.block_out_channels) - 1)

    @property
    def latent_channels(self) -> int:
        """Channels of the latents."""
        return self.autoencoder.config.latent_channels

    def image_shape(self, latents: Shape) -> Shape:
        """Channels, height and width of an image."""
        _, height, width = latents
        channels = self.autoencoder.config.out_channels
        return channels, height * self.factor, width * self.factor

    def slices(self, count: int) -> list[slice]:
        """The samples of a batch that are decoded together."""
        return [slice(i, i + self.slice_size) for i in range(0, count, self.slice_size)]

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents that images may be encoded to."""
        scale, shift = self._scale_and_shift(images)
        with _in_full(images):
            said = [
                self.autoencoder.encode(images[rows].float()).latent_dist
                for rows in self.slices(len(images))
            ]
        mean, std = (torch.cat([getattr(one, name) for one in said]) for name in ('mean', 'std'))
        return (mean - shift) * scale, std * scale

    def encode(self, images: Tensor, draw: Draw | None = None) -> Tensor:
        """The latents of images, drawn if they are to be."""
        mean, std = self.moments(images)
        return mean if draw is None or not self.draws else mean + std * draw(mean)

    def decode(self, latents: Tensor) -> Tensor:
        """The images, not clipped."""
        scale, shift = self._scale_and_shift(latents)
        z = latents.float() / scale + shift
        slices = self.slices(len(z))
        decode: Callable[..., Tensor] = self._decode
        if len(slices) > 1 and torch.is_grad_enabled() and z.requires_grad:
            # A slice's graph is made when its turn comes to go back through it.
            return torch.cat([checkpoint(decode, z[rows], use_reentrant=False) for rows in slices])
        return torch.cat([decode(z[rows]) for rows in slices])

    @torch.no_grad()
    def latents_of(self, batch: Tensor) -> Tensor:
        """A batch of latents as it is; images, which are of another shape, are encoded."""
        side = self.image_size // self.factor
        latents = (self.latent_channels, side, side)
        given, images = tuple(batch.shape[1:]), self.image_shape(latents)
        if given not in (latents, images):
            raise ValueError(
                f'a batch of shape {(*batch.shape,)} holds neither images of shape {images} nor '
                f'latents of {latents}'
            )
        return batch if given == latents else self.encode(batch, torch.randn_like)

    def check_fits(self, network: Any) -> None:
        """Refuses a network of other latents."""
        name = type(network).__name__
        if network.in_channels != self.latent_channels:
            raise ValueError(
                f'the autoencoder has latents of {self.latent_channels} channels, and the {name} '
                f'is of {network.in_channels}: choose the one that it was trained with'
            )
        if network.image_size * self.factor != self.image_size:
            raise ValueError(
                f'images of {self.image_size} pixels have latents of '
                f'{self.image_size // self.factor}, and the {name} is of {network.image_size}: '
                'choose the network of that size, or another image_size for the codec'
            )

    def stored(self) -> Part:
        """The autoencoder as diffusers has it, where latents have one scale and no shift."""
        scale, shift = self.scaling
        said = {key: value for key, value in self.autoencoder.config.items() if key[0] != '_'}
        said |= dict(
            _class_name='AutoencoderKL',
            scaling_factor=scale if isinstance(scale, float) and shift == 0 else None,
        )
        return Part(said, self.autoencoder.state_dict())

    def _decode(self, z: Tensor) -> Tensor:
        with _in_full(z):
            return self.autoencoder.decode(z).sample

    def _scale_and_shift(self, like: Tensor) -> tuple[Tensor, Tensor]:
        scale, shift = (
            torch.as_tensor(part, dtype=torch.float32, device=like.device).view(1, -1, 1, 1)
            for part in self.scaling
        )
        return scale, shift

    def __deepcopy__(self, memo: dict[int, Any]) -> AutoencoderCodec:
        """Copies share the autoencoder, which nothing changes."""
        return copy.copy(self)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AutoencoderCodec:
        """Goes where the model goes, and keeps its type."""
        here = next(self.autoencoder.parameters())
        there = fn(here.new_empty(())).device
        if there != here.device:
            self.autoencoder.to(there)
        return super()._apply(fn, recurse)


def load_autoencoder(autoencoder: Any, file: Path) -> None:
    """Gives an AutoencoderKL the weights in a safetensors file: all of them, or none."""
    if file.suffix != '.safetensors':
        raise CheckpointError(f'{file}: weights of an autoencoder are read from .safetensors alone')
    pattern = rf'(?<=attentions\.0\.)({"|".join(OLD_NAMES)})(?=\.)'
    given = {
        re.sub(pattern, lambda match: OLD_NAMES[match[1]], key): tensor
        for key, tensor in read_document(file).state_dict.items()
    }
    wanted = autoencoder.state_dict()
    for key, tensor in given.items():
        if key in wanted and tensor.ndim == 4 and wanted[key].ndim == 2:
            given[key] = tensor.flatten(1)  # attention was once a convolution of pixels
    autoencoder.load_state_dict(fitted(given, autoencoder, file))


def _found(weights: str | Path) -> tuple[Path, dict[str, Any]]:
    """The file of an autoencoder's weights, and the arguments that stand beside it."""
    folder = Path(weights).expanduser()
    if not folder.is_dir():
        return fetch(source_of(weights)), {}
    if (folder / AUTOENCODER).is_dir():
        folder /= AUTOENCODER
    return fetch(folder / PART_WEIGHTS), part_config(folder)


def _scaling(given: str | Mapping[str, Any], channels: int) -> Scaling:
    if isinstance(given, str) and given not in SCALINGS:
        named = ', '.join(map(repr, SCALINGS))
        raise ValueError(f'scaling is {named}, or a dict of scale and shift, not {given!r}')
    scaling = SCALINGS[given] if isinstance(given, str) else Scaling(**given)
    for name, part in scaling._asdict().items():
        count = torch.as_tensor(part).numel()
        if count not in (1, channels):
            raise ValueError(
                f'the {name} of the latents has {count} entries, and the autoencoder {channels} '
                'channels'
            )
    return scaling


def _in_full(x: Tensor) -> torch.autocast:
    """While this lasts, nothing is computed in half precision, which a decoder overflows."""
    return torch.autocast(x.device.type, enabled=False)
