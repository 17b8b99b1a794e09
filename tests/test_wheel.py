"""The wheel carries all that is needed without the repository."""

import os
import re
import subprocess
import sys
import zipfile

import pytest

from mmagic_adm.version import __version__
from tests.docs.pages import commands_in
from tests.docs.snippets import code_blocks
from tests.reference import REPOSITORY

README = REPOSITORY / 'README.md'
# What the README's commands are given in place of a download, and of many samples.
SMALL = {
    'adm-g_ddim25_8xb32_imagenet-64x64': ['adm-g_ddim25_digits-16x16'],
    'adm_ddim250_8xb32_imagenet-64x64': ['adm_ddim25_digits-16x16'],
    '64x64_diffusion': ['bundled://digits-16x16_unet.safetensors'],
    'reference.npz': ['bundled://digits-16x16_held-out.npz', '--features', 'features.py'],
    'samples.npz': ['outputs/adm-g_ddim25_digits-16x16/samples.npz'],
    'hamster,207': ['3,7'],
    '8': ['4'],
}
SHORT = {
    'sample': ['--steps', '2'],
    'test': ['--steps', '2', '--cfg-options', 'test_dataloader.dataset.num_samples=10'],
    'train': ['--cfg-options', 'train_cfg.max_iters=1', 'train_dataloader.num_workers=0'],
}
FEATURES = """\
_base_ = 'mmagic_adm::digits/_base_/evaluation/held-out.py'
features = {{_base_.test_evaluator.features}}
"""


def test_the_version_has_a_section_of_the_changelog():
    heading = re.search(r'^## (.*)$', (REPOSITORY / 'CHANGELOG.md').read_text(), re.M)[1]
    dated = re.escape(__version__) + r' \(20\d\d-\d\d-\d\d\)'
    assert re.fullmatch(f'Unreleased|{dated}', heading)


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The wheel of `make wheel`."""
    folder = tmp_path_factory.mktemp('dist')
    command = [sys.executable, '-m', 'build', '--wheel', '--outdir', folder, REPOSITORY]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = folder.glob('*.whl')
    return built


@pytest.mark.slow
def test_what_the_ecosystem_looks_for_is_where_it_looks(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in (
        'model-index.yml',
        'configs/guided_diffusion/metafile.yml',
        'configs/guided_diffusion/adm-g_ddim25_8xb32_imagenet-64x64.py',
        'configs/guided_diffusion/_base_/models/adm_imagenet-64x64.py',
        'tools/sample.py',
        'tools/convert.py',
    ):
        assert f'mmagic_adm/.mim/{path}' in names
    assert 'mmagic_adm/py.typed' in names
    assert not any(name.startswith('tests/') for name in names)


@pytest.fixture(scope='module')
def run(wheel, tmp_path_factory):
    """Runs a program of the installed wheel, in a folder that has nothing at first."""
    site, folder = (tmp_path_factory.mktemp(name) for name in ('site', 'empty'))
    install = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index']
    subprocess.run([*install, '--target', site, wheel], check=True)

    def run(program, *arguments):
        ended = subprocess.run(
            [*program, *arguments],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, 'PYTHONPATH': str(site)},
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    run.folder = folder
    run.programs = {
        'mmagic-adm': [site / 'bin' / 'mmagic-adm'],
        'torchrun': [sys.executable, '-m', 'torch.distributed.run', '--standalone'],
    }
    return run


@pytest.mark.slow
def test_the_commands_of_the_readme_run_from_an_empty_folder(run):
    (run.folder / 'features.py').write_text(FEATURES)
    ran = []
    for command in commands_in(README):
        program, *words = command.words
        if program not in run.programs:
            continue
        name = words[words.index('mmagic_adm') + 1] if program == 'torchrun' else words[0]
        words = [small for word in words for small in SMALL.get(word, [word])]
        if program == 'torchrun':
            words += ['--work-dir', 'work_dirs/shared-out']
        printed = run(run.programs[program], *words, *SHORT.get(name, []))
        ran.append((program, name))
        if name == 'test':
            assert 'FID' in printed
    assert len(ran) == len(set(ran)) >= 7
    assert (run.folder / 'outputs/adm-g_ddim25_digits-16x16/sheet.png').is_file()
    assert (run.folder / 'work_dirs/adm_1xb32_digits-16x16/iter_1.pth').is_file()
    # One evaluation of ten samples, shared out between the processes of torchrun.
    assert len(list((run.folder / 'work_dirs/shared-out').glob('**/*.json'))) > 0


@pytest.mark.slow
def test_so_does_its_python(run):
    quick_start, _, scoring = code_blocks(README)
    where = 'import mmagic_adm\nprint(mmagic_adm.__file__)\n'
    printed = run([sys.executable, '-c'], where + quick_start + scoring)
    assert not printed.startswith(str(REPOSITORY))
