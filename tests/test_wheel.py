"""The wheel carries all that is needed without the repository."""

import os
import subprocess
import sys
import textwrap
import zipfile

import pytest

from tests.reference import REPOSITORY

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    """The wheel that `make wheel` builds."""
    folder = tmp_path_factory.mktemp('dist')
    command = [sys.executable, '-m', 'build', '--wheel', '--outdir', folder, REPOSITORY]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (built,) = folder.glob('*.whl')
    return built


def test_configs_and_tools_are_where_the_ecosystem_looks_for_them(wheel):
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
    assert not any(name.startswith('tests/') for name in names)


def test_it_builds_a_model_far_from_the_repository(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / 'site')
    code = """
        import mmagic_adm, torch
        assert 'site' in mmagic_adm.__file__, mmagic_adm.__file__
        from mmagic_adm.apis import init_model
        with torch.device('meta'):
            model = init_model('adm-g_ddim25_8xb32_imagenet-64x64', device='meta', weights=False)
        print(sum(p.numel() for p in model.parameters()))
    """
    result = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, 'PYTHONPATH': str(tmp_path / 'site')},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split()[-1] == '361343022'


def test_its_command_samples_from_an_empty_folder(wheel, tmp_path):
    site, folder = tmp_path / 'site', tmp_path / 'empty'
    folder.mkdir()
    command = [sys.executable, '-m', 'pip', 'install', '--quiet', '--no-deps', '--no-index']
    subprocess.run([*command, '--target', site, wheel], check=True)

    def run(*arguments):
        return subprocess.run(
            [site / 'bin' / 'mmagic-adm', *arguments],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, 'PYTHONPATH': str(site)},
        )

    [name] = run('list', 'adm-g_ddim25_d*').stdout.splitlines()
    sampled = run('sample', name, '--labels', '3', '--steps', '2')
    assert sampled.returncode == 0, sampled.stderr
    assert all((folder / path).is_file() for path in sampled.stdout.splitlines())
