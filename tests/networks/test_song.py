"""DDPM++ and NCSN++ agree with EDM's own code, digit for digit."""

import pytest
import torch

from mmagic_adm.networks import SongUNet, check_network
from tests.reference import golden_names, load_golden, weight_from_name


@pytest.mark.parametrize('name', golden_names('song'))
def test_it_is_edms_network(name):
    case = load_golden('song', name)
    network = SongUNet(**case.meta['kwargs']).eval()
    check_network(network)
    shapes = {key: list(value.shape) for key, value in network.state_dict().items()}
    assert shapes == case.meta['state_dict_shapes']
    # Its random frequencies are in the file too.
    network.load_state_dict(
        {key: weight_from_name(key, tuple(shape)) for key, shape in shapes.items()}
    )
    labels = {} if network.num_classes is None else dict(labels=case.y)
    with torch.no_grad():
        out = network(case.x, case.t, **labels)
        augmented = network(case.x, case.t, augment=case.augment, **labels)
    torch.testing.assert_close(out, case.out, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(augmented, case.out_augmented, atol=1e-5, rtol=1e-5)


def test_what_does_not_fit_is_named():
    small = dict(model_channels=16, channel_mult=(1, 1), num_blocks=1)
    conditional = SongUNet(16, num_classes=3, **small)
    with pytest.raises(ValueError, match='needs labels'):
        conditional(torch.zeros(1, 3, 16, 16), torch.zeros(1))
    with pytest.raises(ValueError, match=r"layout is ddpm\+\+ or ncsn\+\+, not 'vp'"):
        SongUNet(16, 'vp', **small)
    plain = SongUNet(16, augment_channels=0, **small)
    with pytest.raises(ValueError, match='not told of augmentation'):
        plain(torch.zeros(1, 3, 16, 16), torch.zeros(1), augment=torch.zeros(1, 9))
