"""A config of one's own is based on one of the package, from any folder."""

from pathlib import Path

import pytest
from mmengine import Config

from mmagic_adm import registry  # noqa: F401  what reads configs imports it
from mmagic_adm.configs import config_directory


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def based_on(base):
    Path('mine.py').write_text(f'_base_ = {base!r}')
    return Config.fromfile('mine.py')


@pytest.mark.parametrize(
    'file', ['digits/adm-g_ddim25_digits-16x16.py', 'guided_diffusion/_base_/schedules/adm-u.py']
)
def test_it_says_what_its_base_says(file):
    read = Config.fromfile(config_directory() / file)
    assert based_on(f'mmagic_adm::{file}').to_dict() == read.to_dict()
    assert read


def test_a_base_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r'based on mmagic_adm::digits/none.* there is no file'):
        based_on('mmagic_adm::digits/none.py')


def test_bases_of_other_kinds_are_found_as_before():
    Path('base.py').write_text('steps = 7')
    assert based_on('./base.py').steps == 7
    with pytest.raises(AssertionError, match='mmengine does not support'):
        based_on('nobodys::digits/none.py')
