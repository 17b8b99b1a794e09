import copy
import pickle

import pytest
import torch
from mmengine.model import BaseModel, ExponentialMovingAverage
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from torch.utils.data import Dataset

from mmagic_adm.checkpoints import (
    CheckpointError,
    load_network,
    recognise_on_load,
    use_safe_loader,
    write_checkpoint,
)
from mmagic_adm.registry import MODELS
from tests.checkpoints.conftest import CLASSIFIER, UNET, assert_same_tensors, network_config


@pytest.fixture(autouse=True)
def _safe_loader(monkeypatch):
    monkeypatch.setattr(CheckpointLoader, '_schemes', dict(CheckpointLoader._schemes))
    use_safe_loader()


class _Images(Dataset):
    metainfo = dict(classes=('a', 'b'))

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.full((3, 16, 16), index / 4)


class _Model(BaseModel):
    def __init__(self, parts=('unet', 'classifier'), optional=()):
        super().__init__()
        for part, name in (('unet', UNET), ('classifier', CLASSIFIER)):
            if part in parts:
                config = {'_scope_': 'mmagic_adm', **network_config(name)}
                setattr(self, part, MODELS.build(config))
        recognise_on_load(self, optional)

    def forward(self, x, mode='loss'):
        times = torch.zeros(len(x), dtype=torch.long)
        return dict(loss=self.unet(x, times, times).square().mean())

    def train_step(self, data, optim_wrapper):
        losses = self(data)
        optim_wrapper.update_params(losses['loss'])
        return losses


def _runner(folder, model, **options):
    return Runner(
        model,
        work_dir=str(folder),
        train_dataloader=dict(
            dataset=_Images(),
            batch_size=2,
            sampler=dict(type='InfiniteSampler', shuffle=False),
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=False, max_iters=options.pop('max_iters', 2)),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        param_scheduler=[
            dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2),
            dict(type='MultiStepLR', milestones=[2, 4], by_epoch=False),
        ],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=2, by_epoch=False)),
        custom_hooks=[dict(type='EMAHook')] if options.pop('ema', False) else None,
        experiment_name=f'{folder.name}-{id(model)}',
        log_level='WARNING',
        **options,
    )


def _files(tmp_path, combined_state, unet_state):
    return {
        'openai': write_checkpoint(unet_state, tmp_path / 'unet.pt', 'openai'),
        'mmagic': write_checkpoint(combined_state, tmp_path / 'both.pth', 'mmagic'),
        'safetensors': write_checkpoint(
            combined_state, tmp_path / 'both.safetensors', 'safetensors'
        ),
    }


@pytest.mark.parametrize('layout', ['openai', 'mmagic', 'safetensors'])
def test_a_runner_loads_every_layout(tmp_path, combined_state, unet_state, layout):
    file = _files(tmp_path, combined_state, unet_state)[layout]
    model = _Model(parts=('unet',) if layout == 'openai' else ('unet', 'classifier'))
    runner = _runner(tmp_path / 'work', model, load_from=str(file))
    runner.load_or_resume()
    expected = {key: combined_state[key] for key in model.state_dict()}
    assert_same_tensors(dict(model.state_dict()), expected)


def test_so_does_mmengines_own_function(tmp_path, combined_state, mmagic_file):
    model = _Model()
    load_checkpoint(model, str(mmagic_file))
    assert_same_tensors(dict(model.state_dict()), combined_state)


def test_and_torchs(mmagic_state, combined_state):
    model = _Model()
    model.load_state_dict(mmagic_state)
    assert_same_tensors(dict(model.state_dict()), combined_state)


def test_a_runner_refuses_a_file_of_another_size_and_names_it(tmp_path, unet_state):
    wider = {key: torch.cat([tensor, tensor]) for key, tensor in unet_state.items()}
    file = write_checkpoint(wider, tmp_path / 'wider.pt')
    model = _Model(parts=('unet',))
    before = copy.deepcopy(model.state_dict())
    runner = _runner(tmp_path / 'work', model, load_from=str(file))
    with pytest.raises(CheckpointError, match=r'wider\.pt does not fit this _Model: 145 of'):
        runner.load_or_resume()
    assert_same_tensors(dict(model.state_dict()), before)


def test_a_network_that_the_file_lacks_is_missed(tmp_path, unet_file):
    with pytest.raises(CheckpointError, match=r'77 missing \(classifier\.time_embed'):
        load_checkpoint(_Model(), str(unet_file))


def test_unless_it_has_a_file_of_its_own(tmp_path, unet_file, classifier_file, combined_state):
    model = _Model(optional=['classifier'])
    load_network(model.classifier, classifier_file)
    load_checkpoint(model, str(unet_file))
    assert_same_tensors(dict(model.state_dict()), combined_state)


def test_even_then_half_of_it_is_a_misfit(combined_state):
    partial = dict(combined_state)
    del partial['classifier.out.0.weight']
    with pytest.raises(CheckpointError, match=r'1 missing \(classifier\.out\.0\.weight\)'):
        _Model(optional=['classifier']).load_state_dict(partial)


def test_a_network_that_the_model_has_no_place_for_is_left_out(
    mmagic_file, unet_state, monkeypatch
):
    said = []
    monkeypatch.setattr(
        'mmagic_adm.checkpoints.loading.print_log', lambda text, **_: said.append(text)
    )
    model = _Model(parts=('unet',))
    load_checkpoint(model, str(mmagic_file))
    assert_same_tensors(dict(model.unet.state_dict()), unet_state)
    assert said == ["77 tensors of 'classifier' were left out: the model has no such network"]


def test_tensors_of_no_network_are_a_misfit(combined_state):
    with pytest.raises(CheckpointError, match=r'1 extra \(head\.weight\)'):
        _Model().load_state_dict({**combined_state, 'head.weight': torch.ones(1)}, strict=False)


def test_a_network_by_itself_recognises_too(mmagic_state, unet_state):
    model = _Model(parts=('unet',))
    recognise_on_load(model.unet)
    model.unet.load_state_dict(mmagic_state)
    assert_same_tensors(dict(model.unet.state_dict()), unet_state)


@pytest.mark.parametrize('ema', [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_runners_own_checkpoint_resumes(tmp_path, ema):
    first = _runner(tmp_path / 'work', _Model(), ema=ema)
    first.train()
    saved = tmp_path / 'work' / 'iter_2.pth'

    again = _runner(tmp_path / 'again', _Model(), ema=ema, load_from=str(saved), resume=True)
    again.train()
    assert again.iter == 2
    assert_same_tensors(dict(again.model.state_dict()), dict(first.model.state_dict()))
    assert again.optim_wrapper.state_dict()['state'][0]['step'] == 2
    history = again.message_hub.get_scalar('train/loss')
    assert history.data[0].tolist() == first.message_hub.get_scalar('train/loss').data[0].tolist()

    longer = _runner(
        tmp_path / 'longer', _Model(), ema=ema, load_from=str(saved), resume=True, max_iters=4
    )
    longer.train()
    assert longer.iter == 4


def test_training_may_begin_from_a_released_file_with_an_average(tmp_path, unet_file, unet_state):
    runner = _runner(tmp_path / 'work', _Model(parts=('unet',)), ema=True, load_from=str(unet_file))
    runner.call_hook('before_run')
    runner.load_or_resume()
    (hook,) = (hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook')
    assert_same_tensors(dict(hook.ema_model.module.unet.state_dict()), unet_state)


def test_a_copy_of_the_model_recognises_for_itself(combined_state):
    model = _Model()
    average = ExponentialMovingAverage(model)
    average.load_state_dict(
        {'steps': torch.tensor(1)} | {f'module.{key}': t for key, t in combined_state.items()}
    )
    assert_same_tensors(dict(average.module.state_dict()), combined_state)
    with pytest.raises(CheckpointError, match='missing'):
        average.load_state_dict({'steps': torch.tensor(1)})


def test_a_model_that_recognises_can_be_pickled(combined_state, mmagic_state):
    network = MODELS.build({'_scope_': 'mmagic_adm', **network_config(UNET)})
    recognise_on_load(network)
    copied = pickle.loads(pickle.dumps(network))
    copied.load_state_dict(mmagic_state)
    assert torch.equal(copied.out[2].bias, combined_state['unet.out.2.bias'])


def test_python_in_a_checkpoint_is_not_passed_on(tmp_path, combined_state):
    torch.save(
        dict(state_dict=combined_state, meta=dict(config='import os', iter=2)),
        tmp_path / 'iter_2.pth',
    )
    checkpoint = load_checkpoint(_Model(), str(tmp_path / 'iter_2.pth'))
    assert checkpoint['meta'] == {'iter': 2}


def test_a_runner_is_told_of_damage_in_one_line(tmp_path, unet_file):
    model = _Model()
    for content, complaint in ((b'<html>', 'is a web page'), (b'PK\x03\x04', 'is truncated')):
        (tmp_path / 'net.pth').write_bytes(content)
        with pytest.raises(CheckpointError, match=complaint):
            load_checkpoint(model, str(tmp_path / 'net.pth'))
