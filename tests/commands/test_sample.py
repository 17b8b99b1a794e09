"""``mmagic-adm sample``, as it is called from a shell."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine import MODELS, Config
from PIL import Image

from mmagic_adm.checkpoints import write_checkpoint
from mmagic_adm.files.alone import claimed
from tests.commands.running import fail, run_here, succeed
from tests.reference import fill_by_name
from tests.tiny import CLASSIFIER, build_model, model_config


@pytest.fixture(scope='module')
def arguments(tmp_path_factory):
    """Command line up to the options: a small guided model and its weights."""
    folder = tmp_path_factory.mktemp('model')
    config, checkpoint = folder / 'tiny-g.py', folder / 'tiny-g.safetensors'
    Config(dict(model=model_config(classifier=CLASSIFIER))).dump(config)
    write_checkpoint(build_model(classifier=CLASSIFIER).state_dict(), checkpoint, 'safetensors')
    return ['sample', str(config), '--checkpoint', str(checkpoint), '--device', 'cpu']


def images(folder):
    with np.load(folder / 'samples.npz') as file:
        return file['arr_0'], file['arr_1']


@pytest.fixture(scope='module')
def finished(arguments, tmp_path_factory):
    """A folder of five samples, and what the tool said."""
    folder = tmp_path_factory.mktemp('samples') / 'out'
    options = ['--labels', '3,7', '--num-samples', '5', '--seed', '10', '--batch-size', '2']
    result = run_here(*arguments, *options, '--trajectory', '2', '--out', folder)
    assert result.returncode == 0, result.stderr
    return folder, result


def test_it_writes_what_the_model_samples(finished):
    folder, _ = finished
    pixels, labels = images(folder)
    expected = build_model(classifier=CLASSIFIER).infer(seeds=range(10, 15), labels=[3, 7, 3, 7, 3])
    quantised = ((expected['samples'] + 1) * 127.5).clamp(0, 255).to(torch.uint8)
    assert labels.tolist() == [3, 7, 3, 7, 3]
    difference = pixels.astype(int) - quantised.permute(0, 2, 3, 1).numpy().astype(int)
    assert abs(difference).max() <= 1
    assert (difference == 0).mean() > 0.99


def test_results_are_on_stdout_and_progress_on_stderr(finished):
    folder, result = finished
    assert result.stdout.split() == [str(folder / 'samples.npz'), str(folder / 'sheet.png')]
    assert 'sampling' in result.stderr


def test_each_sample_has_a_picture_and_its_trajectory(finished):
    folder, _ = finished
    for i in range(5):
        assert Image.open(folder / f'{i:06d}.png').size == (8, 8)
        assert Image.open(folder / f'{i:06d}_trajectory.gif').n_frames == 3
        assert (folder / f'{i:06d}_trajectory.png').exists()


def test_the_same_command_again_makes_nothing_new_and_a_larger_number_adds(finished, arguments):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob('0*.png')}
    options = ['--labels', '3,7', '--seed', '10', '--out', folder]
    succeed(*arguments, *options, '--num-samples', '7')
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(images(folder)[0]) == 7


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_done_and_the_same_command_makes_the_rest(arguments, tmp_path):
    options = ['--labels', '1', '--num-samples', '6', '--batch-size', '1', '--steps', '250']
    command = [sys.executable, '-m', 'mmagic_adm', *arguments, *options, '--out', tmp_path / 'out']
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        # A shell in the background may have told its children to ignore ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / 'out' / '000001.png').exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert 'of 6 images made, which are in' in stderr
    assert 'the same command makes the rest' in stderr
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / 'out').glob('0*.png')}
    assert 2 <= len(kept) < 6

    assert subprocess.run(command, capture_output=True).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    succeed(*arguments, *options, '--out', tmp_path / 'straight')
    assert np.array_equal(images(tmp_path / 'out')[0], images(tmp_path / 'straight')[0])


@pytest.fixture(scope='module')
def upsampler(tmp_path_factory):
    """Command line up to the options: a small upsampler and its weights."""
    folder = tmp_path_factory.mktemp('upsampler')
    unet = dict(type='ADMSuperResolutionUNet')
    config = {**model_config(unet=unet), 'type': 'AblatedUpsamplingModel', 'low_res_size': 4}
    Config(dict(model=config)).dump(folder / 'tiny-u.py')
    model = fill_by_name(MODELS.build(config).unet)
    write_checkpoint(model.state_dict(), folder / 'tiny-u.pt')
    return ['sample', folder / 'tiny-u.py', '--checkpoint', folder / 'tiny-u.pt']


class TestUpsampling:
    @pytest.fixture
    def base(self, tmp_path):
        """Base samples in the family's format."""
        pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
        np.savez(tmp_path / 'base.npz', pixels, np.array([5, 6, 7]))
        return str(tmp_path / 'base.npz')

    def test_base_samples_are_enlarged_with_their_labels(self, upsampler, base, tmp_path):
        out = tmp_path / 'out'
        succeed(*upsampler, '--base-samples', base, '--batch-size', '2', '--out', out)
        pixels, labels = images(out)
        assert pixels.shape == (3, 8, 8, 3)
        assert labels.tolist() == [5, 6, 7]

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            ([], 'give them with --base-samples'),
            (
                ['--base-samples', 'BASE', '--num-samples', '4'],
                'holds 3 images; --num-samples is 4',
            ),
        ],
    )
    def test_bad_input(self, upsampler, base, options, message):
        given = [base if option == 'BASE' else option for option in options]
        assert message in fail(*upsampler, *given)


class TestBadInput:
    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (['--labels', '10'], 'label 10 is out of range: the classes are 0 to 9'),
            (['--num-samples', '0'], '--num-samples is how many images to make, not 0'),
            (['--num-samples', 10**12], 'seeds go up to 4294967295'),
            (['--scheduler', 'dddim'], "no scheduler is called 'dddim'"),
            (['--steps', '0'], 'Cannot read 0'),
            (['--scheduler', 'edm', '--steps', 'ddim5'], 'EDM spaces its steps by itself'),
            (['--batch-size', '0'], 'batch_size is the number of samples at a time, not 0'),
            (['--trajectory', '0'], 'a trajectory keeps every k-th step'),
            (['--seed', '-1'], 'a seed is a whole number from 0 to 4294967295, not -1'),
            (['--resize-low-res'], 'does not enlarge: leave --resize-low-res out'),
            (['--cfg-options', 'model.type=ADM2'], "there is no type 'ADM2'"),
        ],
    )
    def test_one_line_says_what_is_wrong(self, arguments, tmp_path, options, message):
        ended = run_here(*arguments, *options, '--out', tmp_path / 'out')
        assert ended.returncode == 1
        assert message in ended.stderr.splitlines()[-1]
        # Before there is a bar, or a folder.
        assert 'images [' not in ended.stderr
        assert not (tmp_path / 'out').exists()

    def test_a_folder_of_other_samples_is_left_alone(self, finished, arguments):
        folder, _ = finished
        before = sorted(path.name for path in folder.iterdir())
        line = fail(*arguments, '--labels', '4', '--out', folder)
        assert 'choose another --out, or --overwrite' in line
        assert sorted(path.name for path in folder.iterdir()) == before

    def test_weights_or_a_config_that_changed_under_the_same_path(self, arguments, tmp_path):
        model, weights, out = tmp_path / 'mine.py', tmp_path / 'mine.safetensors', tmp_path / 'out'
        shutil.copy(arguments[1], model)
        shutil.copy(arguments[3], weights)
        command = ['sample', model, '--checkpoint', weights, '--labels', '1', '--out', out]
        out.mkdir()
        # What a kill during the very first write leaves.
        (out / '.settings.json.unfinished').write_text('{"mod')
        succeed(*command)
        before = (out / '000000.png').stat().st_mtime_ns
        shutil.move(weights, tmp_path / 'moved.safetensors')
        moved = [tmp_path / 'moved.safetensors' if each == weights else each for each in command]
        succeed(*moved)
        assert (out / '000000.png').stat().st_mtime_ns == before

        state = build_model(classifier=CLASSIFIER).state_dict()
        state['unet.out.2.bias'] += 1
        write_checkpoint(state, weights, 'safetensors')
        assert re.search(r'another run \(weights: \S+ there, \S+ now\)', fail(*command))
        model.write_text(model.read_text() + "\nmodel['num_inference_steps'] = 3\n")
        assert 'model.num_inference_steps: 4 there, 3 now' in fail(*moved)
        with claimed(out):
            assert f'{out} is in use by another run' in fail(*command, '--overwrite')
        assert (out / '000000.png').stat().st_mtime_ns == before

    def test_more_than_the_disk_holds_is_said_at_once(self, arguments, tmp_path, monkeypatch):
        monkeypatch.setattr('shutil.disk_usage', lambda _: SimpleNamespace(free=10**11))
        line = fail(*arguments, '--num-samples', 10**9, '--out', tmp_path / 'out')
        assert 'it needs 192,000,000,000 bytes, and 100,000,000,000 are free' in line
        assert not (tmp_path / 'out').exists()

    @pytest.mark.parametrize(
        ('options', 'message'),
        [
            (['--checkpoint', ''], 'checkpoint is empty: say which, or leave it out'),
            (['--labels', ''], 'labels is empty: say which, or leave it out'),
            (['--scale', 'inf'], "a guidance scale is a finite number, not 'inf'"),
            (['--scale', 'nan'], "a guidance scale is a finite number, not 'nan'"),
            (['--num-samples', 'many'], "invalid int value: 'many'"),
        ],
    )
    def test_wrong_usage_is_said_before_anything_is_loaded(self, options, message):
        ended = run_here('sample', 'any', *options)
        assert ended.returncode == 2
        assert message in ended.stderr

    def test_weights_of_the_classifier_alone_are_wrong_usage(self):
        ended = run_here('sample', 'any', '--classifier-checkpoint', 'classifier.pt')
        assert ended.returncode == 2
        assert 'goes with --checkpoint' in ended.stderr


GUIDED = ['model.guidance.type=ClassifierGuidance', 'model.guidance.scale=9.0']
IN_THE_NOISIER_HALF = [*GUIDED, 'model.guidance.interval=(500,1000)']


class TestConfigOptions:
    """Changes to the config, as `train` takes them."""

    @pytest.fixture
    def sampled(self, arguments, tmp_path):
        """Samples with changes; and the command that makes them."""

        def sampled(*changes):
            out = tmp_path / str(changes)
            command = [*arguments, '--labels', '3,7', '--out', out, '--cfg-options', *changes]
            succeed(*command)
            return images(out)[0], command

        return sampled

    def test_they_reach_the_model_with_types_and_tuples(self, sampled):
        guidance = dict(type='ClassifierGuidance', scale=9.0, interval=(500, 1000))
        model = build_model(classifier=CLASSIFIER, guidance=guidance)
        expected = (model.infer(seeds=[0, 1], labels=[3, 7])['samples'] + 1) * 127.5
        pixels, _ = sampled(*IN_THE_NOISIER_HALF)
        differences = expected.permute(0, 2, 3, 1).numpy() - pixels
        assert abs(differences).max() < 2
        assert not np.array_equal(pixels, sampled(*GUIDED)[0])

    def test_guidance_need_not_be_named_where_a_classifier_is_there(self, sampled):
        named, _ = sampled(*IN_THE_NOISIER_HALF)
        changes = [change for change in IN_THE_NOISIER_HALF if '.type=' not in change]
        assert np.array_equal(sampled(*changes)[0], named)

    def test_guidance_is_refused_where_there_is_none_to_change(self):
        change = ['--cfg-options', 'model.guidance.every=2']
        assert (
            'adm_ddim25_digits-16x16 has no guidance whose every could be changed: choose some'
        ) in fail('sample', 'adm_ddim25_digits-16x16', *change)

    def test_a_folder_made_with_others_is_refused(self, sampled):
        _, command = sampled(*GUIDED)
        assert succeed(*command) != ''
        changed = 'model.guidance.every: nothing there, 2 now'
        assert changed in fail(*command, 'model.guidance.every=2')
        without = command[: command.index('--cfg-options')]
        assert 'model.guidance.scale: 9.0 there, nothing now' in fail(*without)

    @pytest.mark.parametrize(
        ('changes', 'message'),
        [
            (['modle.guidance.scale=2'], "'modle' is no part of .*; those are model"),
            (
                ['model.guidence.scale=2'],
                "DiffusionModel takes no 'guidence'; it takes unet",
            ),
            (['model.num_inference_steps.a=2'], 'num_inference_steps of .* is 4, without parts'),
            (['model.guidance.type=Nothing'], "there is no type 'Nothing' in"),
        ],
    )
    def test_bad_ones_are_refused_in_a_line(self, arguments, tmp_path, changes, message):
        line = fail(*arguments, '--out', tmp_path / 'out', '--cfg-options', *changes)
        assert re.search(message, line)
        assert not (tmp_path / 'out').exists()

    @pytest.mark.parametrize('change', ['model.guidance', 'model.guidance.interval=(500,[2)'])
    def test_what_is_no_change_is_wrong_usage(self, arguments, change):
        ended = run_here(*arguments, '--cfg-options', change)
        assert ended.returncode == 2
        assert f'every change is KEY=VALUE, with its brackets closed: {change}' in ended.stderr

    def test_a_stage_of_a_cascade_is_changed_in_a_config_of_its_own(self):
        cascade = 'adm-g-u_ddpm250_8xb32_imagenet-64x64-256x256'
        line = fail('sample', cascade, '--cfg-options', 'model.guidance.scale=2')
        assert "CascadedDiffusionModel takes no 'guidance'; it takes base, upsamplers" in line
        line = fail('sample', cascade, '--cfg-options', 'model.base.guidance.scale=2')
        assert "is 'adm-g_ddpm250_8xb32_imagenet-64x64', without parts" in line
