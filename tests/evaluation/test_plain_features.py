"""Features of a classifier that was never shown noise."""

import numpy as np
import pytest
import torch
from mmengine import MODELS

from mmagic_adm.files.download import BUNDLED, fetch

JUDGE = dict(
    type='PlainClassifierFeatures',
    _scope_='mmagic_adm',
    classifier=dict(type='PlainClassifier'),
    weights='bundled://digits-16x16_judge.safetensors',
)


@pytest.fixture(scope='module')
def held_out():
    """The scans that ship as the reference of the bundled digits."""
    with np.load(fetch('bundled://digits-16x16_held-out.npz')) as file:
        return torch.from_numpy(file['arr_0']).permute(0, 3, 1, 2), torch.from_numpy(file['arr_1'])


def test_the_judge_knows_the_scans_it_was_trained_on(held_out):
    images, labels = held_out
    features = MODELS.build(JUDGE).extract(images)
    assert features['pool'].shape == (599, 64)
    assert (features['logits'].argmax(dim=1) == labels).float().mean() > 0.99


def test_a_file_that_comes_with_the_package_is_found_by_name():
    assert fetch('bundled://MODEL_CARD.md').parent == BUNDLED


def test_one_that_does_not_is_named():
    with pytest.raises(RuntimeError, match=r'nothing\.npz does not exist'):
        fetch('bundled://nothing.npz')
