"""Classes by name."""

import pytest
import torch

from mmagic_adm.apis import find_label, imagenet_class_names, init_model
from mmagic_adm.apis.class_names import names_of_classes

NAMES = imagenet_class_names()


def test_there_are_a_thousand_in_the_usual_order():
    assert len(NAMES) == 1000
    assert NAMES[207] == 'golden retriever'
    assert NAMES[333] == 'hamster'


@pytest.mark.parametrize('label', ['hamster', 'Hamster', ' hamster ', '333', 333])
def test_a_class_is_found_by_name_or_number(label):
    assert find_label(label, NAMES) == 333


def test_a_name_that_several_classes_have_is_refused_with_their_numbers():
    with pytest.raises(
        ValueError, match="several classes are called 'crane'; give the number: 0, 2"
    ):
        find_label('crane', ['crane', 'wren', 'Crane'])


@pytest.mark.parametrize(
    ('label', 'suggestion'),
    [('hamstre', r'hamster \(333\)'), ('retriever', r'golden retriever \(207\)')],
)
def test_an_unknown_name_gets_suggestions(label, suggestion):
    with pytest.raises(ValueError, match=f'no class is called {label!r}; .*{suggestion}'):
        find_label(label, NAMES)


def test_a_name_like_no_other():
    with pytest.raises(ValueError, match="no class is called 'xyzzyq'; give a number"):
        find_label('xyzzyq', NAMES)
    with pytest.raises(ValueError, match="called 'xyzzyq'; there are cat, dog"):
        find_label('xyzzyq', ['cat', 'dog'])


def test_other_models_classes_are_called_by_their_numbers():
    assert names_of_classes(3) == ('0', '1', '2')
    assert names_of_classes(None) == ()


def test_a_model_may_say_what_its_classes_are_called():
    assert names_of_classes(2, ['cat', 'dog']) == ('cat', 'dog')
    with torch.device('meta'), pytest.raises(ValueError, match='2 class_names for 10 classes'):
        init_model('adm_ddim25_digits-16x16', weights=False, class_names=['cat', 'dog'])
