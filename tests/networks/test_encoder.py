"""The embedding of the timestep."""

import torch

from mmagic_adm.networks.encoder import timestep_embedding
from tests.tiny import build_model


def test_time_zero_is_all_cosine():
    embedding = timestep_embedding(torch.zeros(1), 8)
    assert embedding.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]]


def test_frequencies_fall_from_one_to_the_slowest():
    embedding = timestep_embedding(torch.tensor([2.0]), 8, max_period=16)
    expected = torch.tensor([2.0, 1.0, 0.5, 0.25])
    torch.testing.assert_close(embedding[0, :4], expected.cos())
    torch.testing.assert_close(embedding[0, 4:], expected.sin())


def test_an_odd_width_ends_in_a_zero():
    embedding = timestep_embedding(torch.tensor([5.0]), 7)
    assert embedding.shape == (1, 7)
    assert embedding[0, -1] == 0


def test_timesteps_that_are_one_expanded_are_embedded_once():
    model = build_model(unet=dict(num_classes=None))
    shared, listed = torch.tensor(7).expand(5), torch.full((5,), 7)
    assert len(model.unet.embed_time(shared)) == 1
    assert len(model.unet.embed_time(listed)) == 5
    x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model.unet(x, shared), model.unet(x, listed))
