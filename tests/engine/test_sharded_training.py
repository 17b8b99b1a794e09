"""Processes that share a network out train it as processes that each have all of it."""

import pytest
import torch
from mmengine import MODELS, Config
from mmengine.evaluator import BaseMetric
from torch.distributed.tensor import DTensor

from mmagic_adm.engine import FlexibleTrainingRunner, TrainingRunner
from mmagic_adm.registry import METRICS
from tests.engine.training import (
    UNET,
    consistency_model,
    in_two_processes,
    training_config,
)

# What a share is of: weights, averages at both rates, and what the optimiser keeps.
PARTS = ('state_dict', 'ema_state_dict', 'other_averages', 'optimizer')


@METRICS.register_module()
class Brightness(BaseMetric):
    """Looks at the samples that a validation makes."""

    def process(self, data_batch, data_samples):
        self.results += [float(sample['fake_img'].float().mean()) for sample in data_samples]

    def compute_metrics(self, results):
        assert len(results) == 3
        return dict(brightness=sum(results) / 3)


def config_of(work_dir, max_iters=4, **changes):
    """A training with everything that has to come together from shares or be shared out."""
    config = training_config(work_dir, max_iters=max_iters, launcher='pytorch', **changes)
    config.model.unet = dict(UNET, use_checkpoint=True)
    config.model.num_inference_steps = 2
    config.optim_wrapper.accumulative_counts = 2
    # Clips at every step.
    config.optim_wrapper.clip_grad.max_norm = 0.1
    config.default_hooks.checkpoint.max_keep_ckpts = -1
    config.custom_hooks.append(dict(type='SampleSheet', interval=2, num_samples=3))
    # One process has a sample more than the other.
    config.val_dataloader = dict(
        batch_size=1,
        num_workers=0,
        sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
        dataset=dict(type='SampleSpecs', num_samples=3, num_classes=10),
    )
    config.val_cfg = dict()
    config.val_evaluator = dict(type='Brightness')
    config.train_cfg.val_interval = 2
    config.visualizer = dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')])
    return config


def train_both_ways(work_dir):
    """On each process: a training, the same one sharded, and each taken on by the other."""
    TrainingRunner.from_cfg(config_of(work_dir / 'ordinary')).train()
    runner = FlexibleTrainingRunner.from_cfg(config_of(work_dir / 'sharded'))
    runner.train()
    shares = list(runner.model.parameters())
    assert all(isinstance(share, DTensor) for share in shares)
    own = sum(share.to_local().numel() for share in shares)
    assert own < 0.6 * sum(share.numel() for share in shares)

    for name, kind, begun in (
        ('resumed', FlexibleTrainingRunner, 'sharded'),
        ('resumed_sharded', FlexibleTrainingRunner, 'ordinary'),
        ('resumed_ordinary', TrainingRunner, 'sharded'),
    ):
        checkpoint = str(work_dir / begun / 'iter_2.pth')
        config = config_of(work_dir / name, resume=True, load_from=checkpoint)
        kind.from_cfg(config).train()


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('trained')
    in_two_processes(train_both_ways, work_dir)
    return work_dir


def load(path):
    return torch.load(path, weights_only=False)


def assert_alike(a, b, **tolerance):
    """All the way down; equal in every bit if no tolerance is given."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_alike(a[key], b[key], **tolerance)
    elif isinstance(a, (list, tuple)):
        for left, right in zip(a, b, strict=True):
            assert_alike(left, right, **tolerance)
    elif isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b, **(tolerance or dict(atol=0, rtol=0)))
    else:
        assert a == b


@pytest.mark.slow
def test_sharded_training_takes_the_same_steps(trained):
    ordinary, sharded = (load(trained / kind / 'iter_4.pth') for kind in ('ordinary', 'sharded'))
    assert ordinary.keys() == sharded.keys()
    for part in PARTS:
        assert_alike(sharded[part], ordinary[part], atol=1e-5, rtol=1e-3)
    begun = load(trained / 'ordinary' / 'iter_2.pth')['state_dict']
    moved = max((ordinary['state_dict'][key] - begun[key]).abs().max() for key in begun)
    assert moved > 1e-4


@pytest.mark.slow
def test_resumed_sharded_training_ends_bit_equal(trained):
    whole, resumed = (load(trained / kind / 'iter_4.pth') for kind in ('sharded', 'resumed'))
    for part in (*PARTS, 'param_schedulers'):
        assert_alike(whole[part], resumed[part])
    assert_alike(*(state['training_state']['loss'] for state in (whole, resumed)))


def train_aloud(work_dir):
    config = training_config(work_dir, max_iters=2, launcher='pytorch', log_level='INFO')
    FlexibleTrainingRunner.from_cfg(config).train()


@pytest.mark.slow
def test_it_says_how_far_it_is_and_the_log_has_the_rest(tmp_path, capfd):
    in_two_processes(train_aloud, tmp_path)
    said = ''.join(capfd.readouterr())
    log = next(file for file in tmp_path.glob('*/*.log')).read_text()
    for text in (said, log):
        assert text.count(' parameters on cpu: 16 images in 2 iterations of 8. ') == 1
        assert '16 of 16 images, ' in text
    assert 'System environment' in log
    assert 'System environment' not in said


def distil_both_ways(work_dir):
    """On each process: a network learns from another, with its average sharded and not."""
    for name, kind in (('ordinary', TrainingRunner), ('sharded', FlexibleTrainingRunner)):
        config = training_config(work_dir / name, 4, launcher='pytorch')
        config.merge_from_dict(dict(model=consistency_model()))
        config.default_hooks.checkpoint.max_keep_ckpts = -1
        kind.from_cfg(config).train()
        begun = str(work_dir / name / 'iter_2.pth')
        resumed = dict(config, resume=True, load_from=begun, work_dir=f'{work_dir}/{name}_resumed')
        kind.from_cfg(Config(resumed)).train()


@pytest.mark.slow
@pytest.mark.slow
def test_so_does_one_that_compares_the_network_with_its_average(tmp_path):
    in_two_processes(distil_both_ways, tmp_path)
    ordinary, ordinary_resumed, sharded, sharded_resumed = (
        load(tmp_path / name / 'iter_4.pth')
        for name in ('ordinary', 'ordinary_resumed', 'sharded', 'sharded_resumed')
    )
    for part in ('state_dict', 'training_state'):
        ours, theirs = (
            [state[part]['loss'] if part == 'training_state' else state[part] for state in pair]
            for pair in ((ordinary, ordinary_resumed), (sharded, sharded_resumed))
        )
        assert_alike(*ours)
        assert_alike(*theirs)
        assert_alike(theirs[0], ours[0], atol=1e-5, rtol=1e-3)
    assert ordinary['training_state']['loss']['step'] == 4


@pytest.mark.parametrize('kind', ['sharded', 'ordinary'])
@pytest.mark.slow
def test_a_training_goes_on_with_shares_or_without(trained, kind):
    expected, resumed = (
        load(trained / name / 'iter_4.pth') for name in ('ordinary', f'resumed_{kind}')
    )
    for part in PARTS:
        assert_alike(resumed[part], expected[part], atol=1e-5, rtol=1e-3)


@pytest.mark.slow
def test_its_checkpoint_is_one_of_a_whole_model(trained):
    model = MODELS.build({**config_of(trained).model, '_scope_': 'mmagic_adm'})
    state = load(trained / 'sharded' / 'iter_4.pth')['state_dict']
    model.load_state_dict(state, strict=True)
    assert all(torch.equal(state[key], tensor) for key, tensor in model.state_dict().items())


@pytest.mark.slow
def test_one_process_samples_for_all(trained):
    sheets = [sorted((trained / kind).rglob('samples_*.png')) for kind in ('ordinary', 'sharded')]
    assert [len(found) for found in sheets] == [2, 2]


@pytest.mark.slow
def test_processes_validate_different_numbers_of_samples(trained):
    ordinary, sharded = (
        load(trained / kind / 'iter_4.pth')['message_hub']['log_scalars']['val/brightness'].data[0]
        for kind in ('ordinary', 'sharded')
    )
    assert len(ordinary) == 1
    assert sharded == pytest.approx(ordinary, abs=0.5)


def test_a_single_process_is_told_how_to_start_several(tmp_path):
    config = training_config(tmp_path)
    with pytest.raises(ValueError, match=r'there is one: start them with tools/dist_train\.sh'):
        FlexibleTrainingRunner.from_cfg(config)
