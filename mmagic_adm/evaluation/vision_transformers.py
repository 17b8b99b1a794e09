"""Features of vision transformers: DINOv2's, and CLIP's embeddings of images."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from mmagic_adm.checkpoints.checkpoint import read_document
from mmagic_adm.checkpoints.parts import StateDict
from mmagic_adm.compat.environment import require
from mmagic_adm.evaluation.features import FeatureExtractor, Features
from mmagic_adm.files.download import fetch
from mmagic_adm.files.whole import CheckpointError
from mmagic_adm.guidance.torchvision_classifiers import IMAGENET_MEAN, IMAGENET_STD
from mmagic_adm.registry import MODELS

DINOV2_URL = 'https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14/dinov2_vitl14_pretrain.pth'
CLIP_URL = 'https://huggingface.co/openai/clip-vit-large-patch14-336/resolve/main/pytorch_model.bin'
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

# DINOv2's own code stretches its grid of positions to this much more than the new one has.
OFFSET = 0.1

# The layers of CLIP's image tower as transformers calls them, and as timm does.
_CLIP_NAMES = {
    'vision_model.embeddings.class_embedding': 'cls_token',
    'vision_model.embeddings.position_embedding.weight': 'pos_embed',
    'vision_model.embeddings.patch_embedding': 'patch_embed.proj',
    'vision_model.pre_layrnorm': 'norm_pre',
    'vision_model.post_layernorm': 'norm',
    'vision_model.encoder.layers': 'blocks',
    'visual_projection': 'head',
    'self_attn.out_proj': 'attn.proj',
    'layer_norm': 'norm',
}


class TransformerFeatures(FeatureExtractor):
    """Features of one of timm's vision transformers, 'pool' alone.

    Args:
        network: timm's name of it.
        weights: Path or URL of its weights.
        image_size: What images are resized to, in pixels.
        options: What else timm's constructor is to be told.
    """

    kinds = ('pool',)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __init__(
        self, network: str, weights: str | Path, image_size: int, options: dict | None
    ) -> None:
        options = dict(options or {})
        super().__init__(network=network, image_size=image_size, options=options)
        self.image_size = image_size
        timm = require('timm', f'the features of {network}', 'mmagic-adm[evaluation]')
        self.network = timm.create_model(network, img_size=image_size, **options)
        state = read_document(fetch(weights)).state_dict
        try:
            self.network.load_state_dict(self.named_as_timm(state))
        except (KeyError, RuntimeError) as error:
            raise CheckpointError(
                f'{weights} does not hold the weights of {network}, for {type(self).__name__}'
            ) from error
        self.freeze()

    def named_as_timm(self, state: StateDict) -> StateDict:
        """The weights under timm's names."""
        raise NotImplementedError

    def resized(self, images: Tensor) -> Tensor:
        """Images in 0..255, as floats, of the network's size."""
        raise NotImplementedError

    def extract(self, images: Tensor) -> Features:
        """Features of the images."""
        x = self.resized(images.float()) / 255
        mean, std = (x.new_tensor(values).view(-1, 1, 1) for values in (self.mean, self.std))
        return dict(pool=self.network((x - mean) / std))


@MODELS.register_module()
class DINOv2Features(TransformerFeatures):
    """Features of DINOv2, as FD-DINOv2 is computed of them: 'pool', the class token (1024).

    Images are resized to 224 pixels by an antialiased cubic filter, as EDM2 does it.

    Args:
        weights: Path or URL of the weights, as the project distributes them.
        network: timm's name of the network.
        image_size: What images are resized to, in pixels.
        options: What else timm's constructor is to be told, for networks of another size.
    """

    published_as = 'fd_dinov2'
    mean, std = IMAGENET_MEAN, IMAGENET_STD

    def __init__(
        self,
        weights: str | Path = DINOV2_URL,
        network: str = 'vit_large_patch14_dinov2',
        image_size: int = 224,
        options: dict | None = None,
    ) -> None:
        super().__init__(network, weights, image_size, options)

    def named_as_timm(self, state: StateDict) -> StateDict:
        """The weights, with the positions of its grid for images of the size."""
        state = {name: value for name, value in state.items() if name != 'mask_token'}
        positions, side = state['pos_embed'], self.network.patch_embed.grid_size[0]
        state['pos_embed'] = torch.cat([positions[:, :1], _on_grid(positions[:, 1:], side)], 1)
        return state

    def resized(self, images: Tensor) -> Tensor:
        """Images of the network's size."""
        size = (self.image_size, self.image_size)
        return F.interpolate(images, size, mode='bicubic', antialias=True)


def _on_grid(positions: Tensor, side: int) -> Tensor:
    """Positions of a square grid, (1, n * n, D), on one with other sides, as DINOv2's code has it.

    That takes the new grid to be a tenth of a patch larger than it is, which moves every position.
    """
    own = round(positions.shape[1] ** 0.5)
    if own == side:
        return positions
    grid = positions.float().unflatten(1, (own, own)).permute(0, 3, 1, 2)
    scale = (side + OFFSET) / own
    return F.interpolate(grid, scale_factor=scale, mode='bicubic').flatten(2).mT


@MODELS.register_module()
class CLIPFeatures(TransformerFeatures):
    """Embeddings of images by CLIP, as CMMD is computed of them: 'pool' (768), of any length.

    Images are resized to 336 pixels by a cubic filter without antialiasing, as CMMD's code does it.

    Args:
        weights: Path or URL of the weights, under the names of transformers; the text's are not
            looked at.
        network: timm's name of the network of the images.
        image_size: What images are resized to, in pixels.
        embedding: How many numbers an embedding has.
        options: What else timm's constructor is to be told, for networks of another size.
    """

    mean, std = CLIP_MEAN, CLIP_STD

    def __init__(
        self,
        weights: str | Path = CLIP_URL,
        network: str = 'vit_large_patch14_clip_quickgelu_336',
        image_size: int = 336,
        embedding: int = 768,
        options: dict | None = None,
    ) -> None:
        options = dict(num_classes=embedding, **(options or {}))
        super().__init__(network, weights, image_size, options)

    def named_as_timm(self, state: StateDict) -> StateDict:
        """The weights of the images' network."""
        found: StateDict = {}
        for theirs, value in state.items():
            name = theirs
            for before, after in _CLIP_NAMES.items():
                name = name.replace(before, after)
            if 'position_ids' not in name and not name.startswith(('text_', 'logit_')):
                found[name] = value
        # Queries, keys and values are one matrix in timm.
        for name in [name for name in found if '.self_attn.q_proj.' in name]:
            parts = [found.pop(name.replace('.q_', f'.{part}_')) for part in 'qkv']
            found[name.replace('self_attn.q_proj', 'attn.qkv')] = torch.cat(parts)
        found['cls_token'] = found['cls_token'][None, None]
        found['pos_embed'] = found['pos_embed'][None]
        found['head.bias'] = torch.zeros(len(found['head.weight']))
        return found

    def resized(self, images: Tensor) -> Tensor:
        """Images of the network's size."""
        return F.interpolate(images, (self.image_size, self.image_size), mode='bicubic')
