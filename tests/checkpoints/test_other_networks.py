"""Networks that are none of ADM's load like those that are: strictly, whoever wrote the file."""

import pytest
import torch
from mmengine.runner import CheckpointLoader, save_checkpoint
from torch import nn

from mmagic_adm.checkpoints import CheckpointError, load_network, write_checkpoint
from mmagic_adm.denoisers import EDMPrecond
from mmagic_adm.engine import EvaluationRunner, TrainingRunner
from mmagic_adm.models import AblatedDiffusionModel
from tests.checkpoints.conftest import UNET, assert_same_tensors, network_config


class Rings(nn.Module):
    """A small network whose first names are anybody's."""

    def __init__(self, time='time', num_classes=10, image_size=8):
        super().__init__()
        self.image_size, self.in_channels, self.out_channels = image_size, 1, 1
        self.num_classes, self.null_label = num_classes, None
        self.add_module(time, nn.Sequential(nn.Linear(1, 4), nn.SiLU(), nn.Linear(4, 4)))
        self.label = nn.Embedding(num_classes, 4)
        self.rings = nn.ModuleList(nn.Conv2d(4, 4, 3) for _ in range(3))

    def forward(self, x, timesteps, labels=None):
        return x


# The second begins as ADM's networks do, and is none.
TIMES = ['time', 'time_embed']


@pytest.fixture(params=TIMES)
def trained(request):
    return Rings(request.param)


@pytest.fixture
def fresh(trained):
    return Rings('time' if hasattr(trained, 'time') else 'time_embed')


def model_of(unet):
    scheduler = dict(type='DDPMScheduler', variance_type='fixed_small')
    return AblatedDiffusionModel(unet, scheduler, loss_type='mse')


def files_of(network, folder):
    state = network.state_dict()
    prefixed = {f'unet.{key}': tensor for key, tensor in state.items()}
    wrapped = {f'module.{key}': tensor for key, tensor in prefixed.items()}
    torch.save(state, folder / 'bare.pt')
    torch.save(prefixed, folder / 'prefixed.pt')
    torch.save(wrapped, folder / 'distributed.pt')
    torch.save(dict(state_dict=prefixed, meta=dict(iter=3)), folder / 'iter_3.pth')
    write_checkpoint(state, folder / 'bare.safetensors', 'safetensors')
    return sorted(folder.iterdir())


@pytest.mark.parametrize('prefix', [None, 'unet'])
def test_a_network_takes_its_weights_from_any_layout(tmp_path, trained, fresh, prefix):
    for path in files_of(trained, tmp_path):
        nn.init.zeros_(fresh.label.weight)
        report = load_network(fresh, path, prefix)
        assert report.loaded == len(trained.state_dict())
        assert not report.left_out
        assert_same_tensors(dict(fresh.state_dict()), dict(trained.state_dict()))


@pytest.mark.parametrize('runner', [EvaluationRunner, TrainingRunner])
def test_a_runner_loads_every_layout(tmp_path, trained, fresh, runner, monkeypatch):
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    (tmp_path / 'files').mkdir()
    model = model_of(fresh)
    for path in files_of(trained, tmp_path / 'files'):
        nn.init.zeros_(fresh.label.weight)
        name = f'{runner.__name__} {path.name} {id(model)}'
        work = dict(work_dir=str(tmp_path / 'work'), experiment_name=name, log_level='ERROR')
        runner(model, load_from=str(path), **work).load_or_resume()
        assert_same_tensors(dict(fresh.state_dict()), dict(trained.state_dict()))


def test_a_wrapped_network_is_the_network(tmp_path, trained, fresh):
    wrapped = EDMPrecond(trained)
    for path in files_of(wrapped, tmp_path):
        load_network(EDMPrecond(fresh), path)
        assert_same_tensors(dict(fresh.state_dict()), dict(trained.state_dict()))


def test_averaged_weights_are_taken_unless_told_otherwise(tmp_path, trained, fresh):
    averaged = {f'unet.{key}': tensor for key, tensor in trained.state_dict().items()}
    content = dict(
        state_dict=averaged, ema_state_dict={f'module.{k}': t + 1 for k, t in averaged.items()}
    )
    save_checkpoint(content, str(tmp_path / 'iter_3.pth'))
    load_network(fresh, tmp_path / 'iter_3.pth')
    assert torch.equal(fresh.label.weight, trained.label.weight)
    load_network(fresh, tmp_path / 'iter_3.pth', ema=False)
    assert torch.equal(fresh.label.weight, trained.label.weight + 1)


@pytest.mark.parametrize('time', TIMES)
def test_a_misfit_is_told_by_its_differences_and_nothing_is_loaded(tmp_path, trained, time):
    for path in files_of(trained, tmp_path):
        other = Rings(time, num_classes=7)
        other.extra = nn.Linear(1, 1)
        before = {key: tensor.clone() for key, tensor in other.state_dict().items()}
        for load in (load_network, load_into_model):
            with pytest.raises(CheckpointError, match='does not fit this') as caught:
                load(other, path)
            missing = 2 if hasattr(trained, time) else 6
            for difference in (f'{missing} missing (', 'label.weight 10x4 for 7x4'):
                assert difference in str(caught.value)
            assert_same_tensors(dict(other.state_dict()), before)


def load_into_model(network, path):
    content = torch.load(path) if path.suffix != '.safetensors' else None
    if content is None:
        load_network(network, path)
    model_of(network).load_state_dict(content.get('state_dict', content), strict=False)


def test_what_is_extra_in_a_file_is_a_misfit(tmp_path, trained, fresh):
    state = trained.state_dict()
    for prefix in ('', 'unet.'):
        given = {prefix + key: tensor for key, tensor in {**state, 'more': torch.ones(1)}.items()}
        torch.save(given, tmp_path / 'net.pt')
        with pytest.raises(CheckpointError, match=r'1 extra \(more\)'):
            load_network(fresh, tmp_path / 'net.pt')
        with pytest.raises(CheckpointError, match=r'1 extra \(unet\.more\)'):
            model_of(fresh).load_state_dict(given)


def test_what_is_ignored_may_differ(tmp_path, trained):
    path = files_of(trained, tmp_path)[-1]
    seven = Rings('time' if hasattr(trained, 'time') else 'time_embed', num_classes=7)
    report = load_network(seven, path, 'unet', ignore=['label'])
    assert report.kept == report.left_out == ('label.weight',)
    assert torch.equal(seven.rings[2].weight, trained.rings[2].weight)


def test_one_of_several_is_chosen(tmp_path, trained, fresh):
    state = trained.state_dict()
    both = {f'unet.{key}': tensor for key, tensor in state.items()}
    both |= {f'unet_ema.{key}': tensor + 1 for key, tensor in state.items()}
    torch.save(both, tmp_path / 'net.pt')
    with pytest.raises(CheckpointError, match='holds unet, unet_ema: choose one with prefix='):
        load_network(fresh, tmp_path / 'net.pt')
    report = load_network(fresh, tmp_path / 'net.pt', 'unet_ema')
    assert torch.equal(fresh.label.weight, trained.label.weight + 1)
    assert len(report.left_out) == len(state)


def test_a_file_of_something_else_is_called_so(tmp_path, unet_state):
    torch.save({'conv.weight': torch.ones(1)}, tmp_path / 'conv.pt')
    with pytest.raises(CheckpointError, match=r'conv\.pt .*conv\.weight'):
        load_network(Rings(), tmp_path / 'conv.pt')
    torch.save(unet_state, tmp_path / 'adm.pt')
    with pytest.raises(CheckpointError, match=r'adm\.pt'):
        load_network(Rings(), tmp_path / 'adm.pt', 'unet')


def test_building_a_model_changes_nothing_outside_it():
    schemes = dict(CheckpointLoader._schemes)
    model_of(dict(network_config(UNET), in_channels=3))
    assert CheckpointLoader._schemes == schemes
