import pytest

from mmagic_adm.configs import config_directory, list_models
from tests.reference import REPOSITORY


def test_a_checkout_uses_its_own_configs():
    assert config_directory() == REPOSITORY / 'configs'


def test_an_installed_package_uses_those_it_brings(monkeypatch, tmp_path):
    package = tmp_path / 'mmagic_adm'
    monkeypatch.setattr('mmagic_adm.configs._PACKAGE', package)
    with pytest.raises(FileNotFoundError, match='install the package again'):
        config_directory()
    brought = package / '.mim' / 'configs'
    (brought / 'guided_diffusion').mkdir(parents=True)
    (brought / 'guided_diffusion' / 'metafile.yml').touch()
    assert config_directory() == brought


def test_names_can_be_asked_for_by_a_pattern():
    names = list_models('adm-g_*')
    assert 'adm-g_ddim25_digits-16x16' in names
    assert names == [name for name in list_models() if name.startswith('adm-g_')]
