"""The whole way of a model in latents: autoencoder, kept latents, DiT, and digits to read."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from mmagic_adm.apis import sample
from mmagic_adm.datasets.digits import digit_images, load_scans
from mmagic_adm.engine import TrainingRunner
from mmagic_adm.guidance import ClassifierFreeGuidance
from tests.engine.training import training_config

AUTOENCODER = dict(
    in_channels=1,
    out_channels=1,
    down_block_types=('DownEncoderBlock2D',) * 2,
    up_block_types=('UpDecoderBlock2D',) * 2,
    block_out_channels=(16, 32),
    norm_num_groups=8,
)


def train_autoencoder(folder, images, iterations=200):
    """Writes an autoencoder of images; gives how their latents have mean 0 and variance 1."""
    torch.manual_seed(0)
    autoencoder = AutoencoderKL(**AUTOENCODER).train()
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=3e-3)
    for _ in range(iterations):
        decoded = autoencoder.decode(autoencoder.encode(images).latent_dist.mean).sample
        loss = F.mse_loss(decoded, images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.03
    autoencoder.save_pretrained(folder)
    with torch.no_grad():
        std, mean = torch.std_mean(autoencoder.encode(images).latent_dist.mean, dim=(0, 2, 3))
    return dict(scale=(1 / std).tolist(), shift=mean.tolist())


def one_of_each():
    """The place of the first digit of each class."""
    return [int(i) for i in np.unique(load_scans('train')[1], return_index=True)[1]]


@pytest.mark.slow
def test_a_small_dit_learns_ten_digits_by_heart(tmp_path):
    digits = digit_images('train')[0][one_of_each()]
    images = torch.from_numpy(digits).permute(0, 3, 1, 2) / 127.5 - 1
    scaling = train_autoencoder(tmp_path / 'vae', images)
    codec = dict(
        type='AutoencoderCodec',
        image_size=16,
        weights=str(tmp_path / 'vae'),
        scaling=scaling,
        draws=False,
        slice_size=64,
    )
    config = training_config(
        tmp_path / 'work',
        max_iters=2400,
        model=dict(
            type='AblatedDiffusionModel',
            unet=dict(type='DiT', image_size=8, size=(64, 2, 2), num_classes=10),
            codec=codec,
            diffusion_scheduler=dict(type='DDIMScheduler', clip_sample=False),
            num_inference_steps=20,
            loss_type='mse',
        ),
    )
    loader = config.train_dataloader
    loader.batch_size = 32
    loader.dataset.dataset = dict(
        type='LatentImages',
        folder=str(tmp_path / 'latents'),
        codec=codec,
        mirrors=False,
        num_workers=0,
        images=dict(
            type='HandwrittenDigits', indices=one_of_each(), pipeline=[dict(type='EnlargeScan')]
        ),
    )
    config.optim_wrapper.optimizer.lr = 3e-3
    config.param_scheduler.T_max = 2400
    config.default_hooks.checkpoint.interval = 2400
    config.custom_hooks[-1].rates = (0.99,)
    runner = TrainingRunner.from_cfg(config)
    runner.train()

    model = runner.model.eval()
    model.guidance = ClassifierFreeGuidance(scale=1.0)
    labels = torch.arange(10).repeat(4)
    made = sample(model, labels=labels, seed=0, batch_size=40)['samples']
    assert made.shape == (40, 1, 16, 16)
    nearest = (made[:, None] - images[None]).square().flatten(2).mean(2).argmin(1)
    assert (nearest == labels).float().mean() > 0.8
