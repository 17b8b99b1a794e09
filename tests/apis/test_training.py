"""Training from Python."""

import logging

import pytest
from mmengine import Config

from mmagic_adm.apis import train
from mmagic_adm.engine.runners import is_brief
from tests.engine.training import training_config


@pytest.mark.slow
def test_it_gives_the_last_checkpoint_and_says_how_far_it_came(tmp_path):
    config = training_config(tmp_path / 'unused', log_level='INFO', experiment_name='python')
    written = config.pretty_text
    progress = dict(type='TrainingProgress', first=0.0, interval=0.0)
    changes = {'train_cfg.max_iters': 2, 'custom_hooks': [progress]}
    last = train(config, tmp_path / 'work', changes=changes)
    assert last == tmp_path / 'work' / 'iter_2.pth'
    assert config.pretty_text == written
    (log,) = (tmp_path / 'work').glob('*/*.log')
    lines, batch = log.read_text(), config.train_dataloader.batch_size
    assert f': {2 * batch} images in 2 iterations of {batch}. Checkpoints and the' in lines
    assert f'{batch} of {2 * batch} images, ' in lines
    assert f'{2 * batch} of {2 * batch} images, ' in lines
    assert 'System environment' in lines  # which the terminal is spared
    with pytest.raises(ValueError, match='has a training that got to iter_2'):
        train(config, tmp_path / 'work')


@pytest.mark.parametrize(
    ('text', 'level', 'shown'),
    [
        ('Training 1.4 million parameters', logging.INFO, True),
        ('Config:\n' + 'a = 1\n' * 50, logging.INFO, False),
        ('Iter(train) [100/5000]  lr: 1e-4', logging.INFO, False),
        ('Trouble:\n' + 'a = 1\n' * 50, logging.WARNING, True),
    ],
)
def test_the_terminal_is_told_what_a_person_waits_for(text, level, shown):
    record = logging.LogRecord('run', level, __file__, 1, text, (), None)
    assert is_brief(record) is shown


def test_a_config_without_training_is_refused():
    with pytest.raises(ValueError, match='has no training: train_dataloader, train_cfg'):
        train(Config(dict(model=dict(type='AblatedDiffusionModel'))))
