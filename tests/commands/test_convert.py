import json
import os
import subprocess
import sys

import diffusers
import pytest
import torch

from mmagic_adm.apis import init_model
from mmagic_adm.checkpoints import config_from_checkpoint, read_checkpoint
from mmagic_adm.checkpoints.parts import mmagic_name
from tests.commands.running import TOOLS, fail, run_here, succeed
from tests.reference import REPOSITORY, load_golden, weight_from_name

SCRIPT = TOOLS / 'convert.py'


def _state(name):
    shapes = load_golden('networks', name).meta['state_dict_shapes']
    return {key: weight_from_name(key, tuple(shape)) for key, shape in shapes.items()}


@pytest.fixture(scope='module')
def unet_state():
    return _state('adm_conditional')


@pytest.fixture
def unet_file(tmp_path, unet_state):
    torch.save(unet_state, tmp_path / 'unet.pt')
    return tmp_path / 'unet.pt'


@pytest.fixture
def combined_file(tmp_path, unet_state):
    state = {f'unet.{mmagic_name(key)}': tensor for key, tensor in unet_state.items()}
    state |= {f'classifier.{k}': t for k, t in _state('classifier_attention_pool').items()}
    torch.save(dict(state_dict=state, meta={}), tmp_path / 'combined.pth')
    return tmp_path / 'combined.pth'


def _assert_same(left, right):
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)


def test_a_file_goes_through_every_layout_unchanged(tmp_path, unet_file, unet_state):
    chain = [unet_file, tmp_path / 'a.pth', tmp_path / 'b.safetensors', tmp_path / 'c.pt']
    layouts = ['mmagic', 'safetensors', 'openai']
    for source, target, layout in zip(chain[:-1], chain[1:], layouts, strict=True):
        assert succeed('convert', source, target, '--to', layout) == f'{target}\n'
        assert read_checkpoint(target).layout == layout
    _assert_same(torch.load(chain[-1]), unet_state)
    # It still knows where it is from, up to where the layout has no place for that.
    assert read_checkpoint(chain[2]).file_name == 'unet.pt'


def test_a_part_is_taken_by_prefix(tmp_path, combined_file, unet_state):
    target = tmp_path / 'out.pt'
    done = run_here('convert', combined_file, target, '--to', 'openai', '--prefix', 'unet')
    assert (done.returncode, done.stdout) == (0, f'{target}\n')
    _assert_same(torch.load(target), unet_state)
    assert f'{len(unet_state)} tensors of unet, layout openai\n' in done.stderr
    assert 'left out: 77 tensors, such as classifier.' in done.stderr


def test_averaged_or_trained_weights_can_be_chosen(tmp_path, unet_state):
    averaged = {f'unet.{key}': tensor for key, tensor in unet_state.items()}
    trained = {f'module.{key}': tensor + 1 for key, tensor in averaged.items()}
    torch.save(dict(state_dict=averaged, ema_state_dict=trained), tmp_path / 'iter_1.pth')
    for options, added in ((), 0), (('--no-ema',), 1):
        target = tmp_path / f'{added}.pt'
        succeed('convert', tmp_path / 'iter_1.pth', target, '--to', 'openai', *options)
        _assert_same(torch.load(target), {key: t + added for key, t in unet_state.items()})


def test_what_a_file_records_of_itself_goes_with_it(tmp_path, unet_state):
    text = "model = dict(type='A', unet=dict(type='ADMUNet', dropout=0.4))"
    state = {f'unet.{key}': tensor for key, tensor in unet_state.items()}
    torch.save(dict(state_dict=state, meta=dict(cfg=text)), tmp_path / 'iter_1.pth')
    target = tmp_path / 'net.safetensors'
    succeed('convert', tmp_path / 'iter_1.pth', target, '--to', 'safetensors')
    assert config_from_checkpoint(target).config['unet']['dropout'] == 0.4


def test_inspect_prints_the_config_and_how_sure_it_is(unet_file):
    done = run_here('convert', '--inspect', unet_file)
    assert done == (0, f'{config_from_checkpoint(unet_file)}\n', '')


def test_an_existing_file_stays_unless_told(tmp_path, unet_file):
    target = tmp_path / 'out.pth'
    target.write_text('precious')
    command = [unet_file, target, '--to', 'mmagic']
    assert '--overwrite' in fail('convert', *command)
    assert target.read_text() == 'precious'
    succeed('convert', *command, '--overwrite')


@pytest.mark.parametrize(
    ('arguments', 'complaint'),
    [
        (['{folder}/none.pt', 'out.pt', '--to', 'openai'], 'none.pt does not exist'),
        (['{folder}/page.pth', 'out.pt', '--to', 'openai'], 'page.pth is a web page'),
        (['{folder}/combined.pth', 'out.pt', '--to', 'openai'], 'choose one by its prefix'),
        (['--inspect', '{folder}/page.pth'], 'page.pth is a web page'),
        (
            ['{folder}/combined.pth', 'out.pt', '--to', 'diffusers'],
            'no place for a classifier;',
        ),
    ],
)
def test_errors_are_one_line_and_no_output(
    tmp_path, combined_file, monkeypatch, arguments, complaint
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'page.pth').write_text('<html>')
    named = [argument.format(folder=tmp_path) for argument in arguments]
    assert complaint in fail('convert', *named)
    assert not (tmp_path / 'out.pt').exists()


@pytest.mark.parametrize(
    'arguments',
    [
        [],
        ['in.pt'],
        ['in.pt', 'out.pt'],
        ['in.pt', 'out.pt', '--to', 'onnx'],
        ['in.pt', 'out.pt', '--to', 'openai', '--ddim'],
        ['--inspect', 'in.pt', 'out.pt'],
        ['--inspect', 'in.pt', '--overwrite'],
    ],
)
def test_a_wrong_command_line_exits_with_two(arguments):
    assert run_here('convert', *arguments).returncode == 2


def test_a_network_becomes_a_pipeline_of_diffusers_and_a_file_again(
    tmp_path, unet_file, unet_state
):
    done = run_here('convert', unet_file, tmp_path / 'out', '--to', 'diffusers', '--ddim')
    assert (done.returncode, done.stdout) == (0, f'{tmp_path / "out"}\n')
    assert 'not certain: unet.image_size: default\n' in done.stderr
    scheduler = json.loads((tmp_path / 'out/scheduler/scheduler_config.json').read_text())
    assert (scheduler['solver_order'], scheduler['variance_type']) == (1, 'learned_range')
    assert '--overwrite' in fail('convert', unet_file, tmp_path / 'out', '--to', 'diffusers')
    succeed('convert', tmp_path / 'out', tmp_path / 'back.pt', '--to', 'openai')
    _assert_same(torch.load(tmp_path / 'back.pt'), unet_state)


@pytest.mark.slow
def test_a_guided_model_becomes_a_pipeline_that_runs_by_this_package(
    tmp_path, combined_file, monkeypatch
):
    succeed('convert', combined_file, tmp_path / 'out', '--to', 'diffusers', '--own-pipeline')
    modules = 'diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE'
    monkeypatch.setattr(modules, str(tmp_path / 'modules'))
    load = diffusers.DiffusionPipeline.from_pretrained
    pipeline = load(tmp_path / 'out', trust_remote_code=True)
    images = pipeline(2, [1, 2], 2, seeds=0, output_type='pt').images
    model = init_model(tmp_path / 'out')
    expected = model.infer(labels=[1, 2], num_inference_steps=2, seeds=[0, 1])['samples']
    assert model.classifier is not None
    assert torch.equal(images, expected / 2 + 0.5)


def _run(*command, cwd):
    environment = {**os.environ, 'PYTHONPATH': str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_the_script_runs_from_anywhere(tmp_path, unet_file):
    done = _run(SCRIPT, unet_file, 'out.safetensors', '--to', 'safetensors', cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, 'out.safetensors\n')


@pytest.mark.slow
def test_a_line_of_python_converts_there_and_back(tmp_path, unet_file, unet_state):
    line = (
        'from mmagic_adm.checkpoints import read_checkpoint, write_checkpoint as write; '
        "write(read_checkpoint('unet.pt').state_dict, 'there.pth', 'mmagic'); "
        "write(read_checkpoint('there.pth').state_dict, 'back.pt')"
    )
    done = _run('-c', line, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, '', '')
    _assert_same(torch.load(tmp_path / 'back.pt'), unet_state)
