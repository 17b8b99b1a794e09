"""The test loop that measures how likely a model finds the images of a dataset."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import get_dist_info
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner, TestLoop
from torch import Tensor

from mmagic_adm.codecs import PixelCodec
from mmagic_adm.diffusion import bits_per_dim
from mmagic_adm.models.runner_data import DataSamples, labels_of
from mmagic_adm.registry import LOOPS


@LOOPS.register_module()
class LikelihoodLoop(TestLoop):
    """Hands the bound on each image's negative log-likelihood to the metrics, see `BitsPerDim`.

    Image i draws its noise from a generator of its own, seeded ``seed + i``, so its bound does not
    depend on the batch or the number of processes.

    Args:
        runner: The runner.
        dataloader: Config of the data loader, over images such as a model trains on, in order.
        evaluator: Config of the metrics, or the evaluator.
        respacing: Timesteps of the bound, such as '250'; None takes every one of the process.
        seed: Seed of the first image.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: dict,
        evaluator: Evaluator | dict | list,
        respacing: str | int | None = None,
        seed: int = 0,
    ) -> None:
        sampler = dataloader.get('sampler', {})
        if sampler.get('round_up', True) or sampler.get('shuffle', True):
            raise ValueError(
                'images are measured in order and once each; give the sampler shuffle=False and '
                'round_up=False'
            )
        super().__init__(runner, dataloader, evaluator)
        self.respacing = respacing
        self.seed = seed

    def run(self) -> dict:
        """Measures all images; refuses a model whose images are no means, or are decoded."""
        if not isinstance(self.runner.model.codec, PixelCodec):
            raise ValueError(
                'bits per dim are those of pixels, and this model diffuses latents, of which its '
                'decoder is no density: measure a model of pixels'
            )
        if self.runner.model.diffusion_scheduler.is_of_ends:
            raise ValueError(
                'bits per dim need the mean of the images in x_t, and a consistency function says '
                'where the flow ends: measure the model that it was tuned from'
            )
        return super().run()

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Measures one batch."""
        self.runner.call_hook('before_test_iter', batch_idx=idx, data_batch=data_batch)
        model = self.runner.model
        data = model.data_preprocessor(data_batch)
        images = data['inputs']
        rank, world_size = get_dist_info()
        # Processes are dealt the images in turn.
        first = self.seed + rank + world_size * idx * self.dataloader.batch_size
        seeds = range(first, first + world_size * len(images), world_size)
        terms = bits_per_dim(
            model.process.respaced(self.respacing),
            model.denoiser(**_labels(model.unet, data['data_samples'])),
            images,
            generator=[torch.Generator(images.device).manual_seed(seed) for seed in seeds],
        )
        outputs = [
            dict(bits_per_dim={'Bits per dim': float(total), 'Prior': float(prior)})
            for total, prior in zip(terms['total_bpd'], terms['prior_bpd'], strict=True)
        ]
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook(
            'after_test_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs
        )


def _labels(network: Any, data_samples: DataSamples) -> dict[str, Tensor]:
    """What a network of classes is given besides an image."""
    if network.num_classes is None:
        return {}
    labels = labels_of(data_samples)
    if labels is None:
        raise ValueError('the network is of classes, and these images have no labels')
    return dict(labels=labels)
