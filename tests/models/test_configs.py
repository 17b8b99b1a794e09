"""Configs are found by their names, and by nothing that only looks like one."""

import pytest

from mmagic_adm.configs import list_models
from mmagic_adm.models.configs import find_config


def test_the_packages_configs_are_known_by_name():
    name = 'adm-g_ddim25_8xb32_imagenet-64x64'
    assert name in list_models()
    assert find_config(name).model.type == 'AblatedDiffusionModel'


@pytest.mark.parametrize(
    'name',
    ['*', 'adm_*', '?', '../digits/adm_ddim25_digits-16x16', 'digits/adm_ddim25_digits-16x16'],
)
def test_a_name_is_neither_a_pattern_nor_a_way_elsewhere(name):
    with pytest.raises(ValueError, match='there is no config called'):
        find_config(name)


@pytest.mark.parametrize(
    ('name', 'hint'),
    [('ffhq_10n', 'did you mean ffhq_10m or'), ('zzz', 'or mmagic-adm list, says what there is')],
)
def test_a_slip_of_the_pen_is_met_with_names_of_configs_and_of_checkpoints(name, hint):
    with pytest.raises(ValueError, match=hint):
        find_config(name)
