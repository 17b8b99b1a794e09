"""The networks agree with the original implementation, digit for digit."""

import pytest
import torch

from mmagic_adm.networks import ADMClassifier, ADMSuperResolutionUNet, ADMUNet
from tests.reference import fill_by_name, golden_names, load_golden

TOLERANCE = dict(atol=1e-5, rtol=1e-5)


def build(meta: dict) -> torch.nn.Module:
    kwargs = dict(meta['kwargs'])
    if meta['kind'] == 'classifier':
        network_class = ADMClassifier
    elif kwargs.pop('super_resolution', False):
        network_class = ADMSuperResolutionUNet
    else:
        network_class = ADMUNet
    return fill_by_name(network_class(**kwargs)).eval()


@pytest.mark.parametrize('name', golden_names('networks'))
def test_state_dict_has_the_released_keys_and_shapes(name):
    meta = load_golden('networks', name).meta
    ours = {key: list(value.shape) for key, value in build(meta).state_dict().items()}
    assert ours == meta['state_dict_shapes']


@pytest.mark.parametrize('name', [n for n in golden_names('networks') if 'classifier' not in n])
def test_unet_output_equals_the_original(name):
    case = load_golden('networks', name)
    inputs = {'labels': case.y} if 'y' in case else {}
    if 'low_res' in case:
        inputs['low_res'] = case.low_res
    with torch.inference_mode():
        out = build(case.meta)(case.x, case.t, **inputs)
    torch.testing.assert_close(out, case.out, **TOLERANCE)


@pytest.mark.parametrize('name', golden_names('networks', 'classifier_*'))
def test_classifier_logits_and_gradient_equal_the_original(name):
    case = load_golden('networks', name)
    x = case.x.clone().requires_grad_()
    logits = build(case.meta)(x, case.t)
    torch.testing.assert_close(logits, case.out, **TOLERANCE)

    log_probabilities = logits.log_softmax(dim=1)[torch.arange(len(x)), case.y]
    (gradient,) = torch.autograd.grad(log_probabilities.sum(), x)
    torch.testing.assert_close(gradient, case.log_prob_grad, **TOLERANCE)
