"""TensorFloat-32 is off where it is asked to be, and as it was outside."""

import pytest
import torch

from mmagic_adm.networks.precision import full_float32, without_tensorfloat


def allowed():
    return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32


@pytest.fixture(params=[(True, True), (False, True)])
def outside(request):
    before = allowed()
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = request.param
    yield request.param
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


@pytest.mark.parametrize('switched', [without_tensorfloat, full_float32])
def test_tensorfloat_is_off_inside_and_as_before_outside(switched, outside):
    with switched():
        assert allowed() == (False, False)
    assert allowed() == outside
    with pytest.raises(KeyboardInterrupt), switched():
        raise KeyboardInterrupt
    assert allowed() == outside


@pytest.mark.parametrize(
    ('switched', 'dtype'), [(without_tensorfloat, torch.bfloat16), (full_float32, torch.float32)]
)
def test_autocast_is_left_alone_by_one_and_off_in_the_other(switched, dtype):
    with torch.autocast('cpu', dtype=torch.bfloat16), switched():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
