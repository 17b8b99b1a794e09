"""A runner of anyone's, MMagic's too, builds every config: each part says whose it is."""

import pytest
from mmengine import Config

from mmagic_adm.checkpoints import config_directory
from mmagic_adm.registry import SCOPE

CONFIGS = sorted(config_directory().glob('*/*.py'))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_part_that_a_runner_builds_has_a_scope(path):
    config = Config.fromfile(path)
    assert config.model._scope_ == SCOPE
    if 'train_cfg' in config:
        assert config.default_scope == SCOPE
    if 'test_cfg' in config and 'default_scope' not in config:
        parts = config.test_dataloader.dataset, config.test_cfg, config.test_evaluator
        assert {part._scope_ for part in parts} == {SCOPE}
