import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmagic_adm.datasets import NpzImages
from mmagic_adm.diffusion import bits_per_dim
from mmagic_adm.engine import EvaluationRunner
from mmagic_adm.evaluation import write_batch
from tests.evaluation.tiny import blocky_images, run_on_processes
from tests.tiny import build_model, model_config

COUNT = 7
IMAGES = blocky_images(COUNT)
LABELS = np.arange(COUNT)


@pytest.fixture
def config(tmp_path):
    write_batch(tmp_path / 'images.npz', [IMAGES], COUNT, dict(arr_1=LABELS))
    torch.save(build_model().unet.state_dict(), tmp_path / 'unet.pt')
    return dict(
        default_scope='mmagic_adm',
        work_dir=str(tmp_path / 'work'),
        load_from=str(tmp_path / 'unet.pt'),
        model=model_config(),
        test_dataloader=dict(
            batch_size=3,
            sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
            dataset=dict(
                type=NpzImages.__name__,
                ann_file=str(tmp_path / 'images.npz'),
                pipeline=[dict(type='PackTrainingImage')],
            ),
        ),
        test_cfg=dict(type='LikelihoodLoop', respacing='5'),
        test_evaluator=dict(type='BitsPerDim'),
        log_level='ERROR',
        experiment_name=tmp_path.name,
    )


def run(config):
    return EvaluationRunner.from_cfg(Config(config)).test()


def expected_figures():
    model = build_model()
    x_0 = torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 127.5 - 1
    terms = bits_per_dim(
        model.process.respaced('5'),
        model.denoiser(labels=torch.from_numpy(LABELS)),
        x_0,
        generator=[torch.Generator().manual_seed(i) for i in range(COUNT)],
    )
    means = {name: float(terms[name].mean()) for name in ('total_bpd', 'prior_bpd')}
    return {'Bits per dim': means['total_bpd'], 'Prior': means['prior_bpd']}


def test_it_is_the_mean_of_the_bound_over_the_dataset(config):
    assert run(config) == pytest.approx(expected_figures(), rel=1e-5)


def test_it_does_not_depend_on_the_number_of_processes(config, tmp_path):
    for figures in run_on_processes(lambda: run(config), 2, tmp_path):
        assert figures == pytest.approx(expected_figures(), rel=1e-5)


@pytest.mark.parametrize('option', ['shuffle', 'round_up'])
def test_images_are_measured_in_order_and_once(option, config):
    config['test_dataloader']['sampler'][option] = True
    with pytest.raises(ValueError, match='shuffle=False and round_up=False'):
        run(config)


def test_images_without_labels_are_refused_by_a_network_of_classes(config, tmp_path):
    write_batch(tmp_path / 'images.npz', [IMAGES], COUNT)
    with pytest.raises(ValueError, match='these images have no labels'):
        run(config)
