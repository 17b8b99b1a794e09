"""MMagic's new style of configs, which import classes, builds this package's."""

import pytest

from mmagic_adm.apis import init_model
from mmagic_adm.compat.mmagic_names import DenoisingUnet
from mmagic_adm.models import AblatedDiffusionModel

NEW_STYLE = """
from mmagic.models.data_preprocessors.data_preprocessor import DataPreprocessor
from mmagic.models.diffusion_schedulers.ddim_scheduler import EditDDIMScheduler
from mmagic.models.editors.ddpm.denoising_unet import DenoisingUnet, MultiHeadAttentionBlock
from mmagic.models.editors.guided_diffusion import AblatedDiffusionModel

model = dict(
    type=AblatedDiffusionModel,
    data_preprocessor=dict(type=DataPreprocessor),
    unet=dict(
        type=DenoisingUnet,
        image_size=16,
        base_channels=32,
        resblocks_per_downsample=1,
        channels_cfg=[1, 2],
        attention_res=(8,),
        num_classes=10,
        attention_cfg=dict(type=MultiHeadAttentionBlock, num_head_channels=32),
    ),
    diffusion_scheduler=dict(type=EditDDIMScheduler),
)
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / 'adm_g.py'
    path.write_text(NEW_STYLE)
    return path


def test_classes_of_mmagics_are_names_of_ours(config):
    model = init_model(config, weights=False)
    assert type(model) is AblatedDiffusionModel
    assert type(model.unet) is DenoisingUnet
    assert model.infer(labels=3, num_inference_steps=1)['samples'].shape == (1, 3, 16, 16)
