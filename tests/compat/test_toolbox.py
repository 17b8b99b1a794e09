"""Beside all of MMagic: its metrics, loop and preprocessor meet ours, and its network agrees."""

import importlib
import uuid
from importlib.metadata import version

import numpy as np
import pytest
import torch
from mmengine import Config
from packaging.version import Version
from PIL import Image

from mmagic_adm.compat import mmagic_names
from mmagic_adm.engine import EvaluationRunner
from mmagic_adm.models import DiffusionDataPreprocessor
from tests.evaluation.tiny import TINY, blocky_images
from tests.tiny import build_model, model_config

# It asks diffusers for what newer ones no longer have, after seconds of other imports.
if Version(version('diffusers')) >= Version('0.25'):
    pytest.skip('`make toolbox` tests it', allow_module_level=True)

models = importlib.import_module('mmagic.models')


def run(tmp_path, scope, preprocessor=None, **parts):
    """The figures of a run of a small model."""
    weights = tmp_path / 'weights.pt'
    torch.save(build_model().unet.state_dict(), weights)
    config = dict(
        default_scope=scope,
        experiment_name=uuid.uuid4().hex,
        work_dir=str(tmp_path / 'work'),
        load_from=str(weights),
        model=model_config(num_inference_steps=2, rgb2bgr=True),
        log_level='ERROR',
        **parts,
    )
    runner = EvaluationRunner.from_cfg(Config(config))
    if preprocessor is not None:
        runner.model.data_preprocessor = preprocessor
    return runner.test()


@pytest.fixture
def images(tmp_path):
    """Real images in a folder, as MMagic's datasets read them."""
    folder = tmp_path / 'images'
    folder.mkdir()
    for i, image in enumerate(blocky_images(6)):
        Image.fromarray(np.ascontiguousarray(image)).resize((8, 8)).save(folder / f'{i}.png')
    return folder


@pytest.mark.parametrize('ours', [True, False], ids=['our preprocessor', "MMagic's"])
def test_mmagics_fid_with_real_statistics_from_a_dataset(ours, images, tmp_path, monkeypatch):
    from mmagic.evaluation.functional import inception_utils
    from mmagic.evaluation.metrics.fid import FrechetInceptionDistance

    seen = []

    def inception(batch, return_features):
        assert batch.dtype == torch.uint8
        seen.append(batch)
        return batch.double().mean((2, 3))

    inception.eval = inception.to = lambda *_: inception
    monkeypatch.setattr(
        FrechetInceptionDistance, '_load_inception', lambda *_: (inception, 'StyleGAN')
    )
    monkeypatch.setattr(inception_utils, 'MMAGIC_CACHE_DIR', str(tmp_path / 'cache'))
    pipeline = [dict(type='LoadImageFromFile', key='gt'), dict(type='PackInputs')]
    figures = run(
        tmp_path,
        'mmagic',
        None if ours else models.DataPreprocessor(),
        test_dataloader=dict(
            batch_size=3,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=dict(
                type='BasicImageDataset',
                data_root=str(images),
                data_prefix=dict(gt=''),
                pipeline=pipeline,
            ),
        ),
        test_cfg=dict(type='MultiTestLoop'),
        test_evaluator=dict(
            type='Evaluator',
            metrics=[dict(type='FrechetInceptionDistance', prefix='FID', fake_nums=6)],
        ),
    )
    assert figures['FID/fid'] >= 0
    # The real images come first, in RGB once MMagic's metric has turned them round from BGR.
    files = [torch.from_numpy(np.array(Image.open(file))) for file in images.iterdir()]
    expected = [file.permute(2, 0, 1).flatten().tolist() for file in files]
    assert sorted(torch.cat(seen[:2]).flatten(1).tolist()) == sorted(expected)


@pytest.mark.parametrize('make', [DiffusionDataPreprocessor, models.DataPreprocessor])
def test_our_metrics_with_either_preprocessor(make, tmp_path):
    figures = run(
        tmp_path,
        'mmagic_adm',
        make(),
        test_dataloader=dict(
            batch_size=3,
            sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
            dataset=dict(type='SampleSpecs', num_samples=7, num_classes=10),
        ),
        test_cfg=dict(type='SamplingLoop'),
        test_evaluator=dict(
            type='SampleEvaluator', features=TINY, metrics=[dict(type='InceptionScore')]
        ),
    )
    assert all(value >= 1 for name, value in figures.items() if name.startswith('Inception Score'))


def test_a_model_takes_data_samples_that_mmagic_stacked():
    from mmagic.structures import DataSample

    model = build_model()
    model.data_preprocessor = models.DataPreprocessor(data_keys=None)
    samples = [DataSample().set_gt_label(label) for label in (3, 5)]
    batch = dict(inputs=[torch.zeros(3, 8, 8, dtype=torch.uint8)] * 2, data_samples=samples)
    data = model.data_preprocessor(batch, training=True)
    assert isinstance(data['data_samples'], DataSample)
    assert model(**data, mode='loss')['loss'].isfinite()


def test_the_network_is_mmagics():
    arguments = dict(
        image_size=16,
        base_channels=32,
        resblocks_per_downsample=1,
        attention_res=(8,),
        channels_cfg=[1, 2],
        num_classes=10,
        norm_cfg=dict(type='GN32', num_groups=32),
        attention_cfg=dict(
            type='MultiHeadAttentionBlock', num_head_channels=32, use_new_attention_order=True
        ),
    )
    ours = mmagic_names.DenoisingUnet(**arguments).eval()
    theirs = models.DenoisingUnet(**arguments).eval()
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    x, y = torch.randn(2, 3, 16, 16), torch.tensor([3, 5])
    assert ours(x, 10, label=y)['sample'].shape == theirs(x, 10, label=y)['sample'].shape
