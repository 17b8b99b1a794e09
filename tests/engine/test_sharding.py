"""Weights that are shared out are the same weights."""

import copy

import pytest
import torch
from mmengine import MODELS
from mmengine.dist import get_rank
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule

from mmagic_adm.engine.runners import join_on_cpu
from mmagic_adm.engine.sharding import gathered, reshard, shard, unshard
from mmagic_adm.networks.network import own_share
from tests.engine.training import UNET, in_two_processes
from tests.networks.own import Plain
from tests.reference import fill_by_name

BATCH = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
TIMESTEPS, LABELS = torch.arange(8) * 100, torch.arange(8)


def pair_of_networks():
    """A network, and the same one shared out between two processes."""
    join_on_cpu('pytorch', 60)
    config = dict(UNET, dropout=0.0, class_dropout_prob=0.0, use_checkpoint=True)
    whole = fill_by_name(MODELS.build(dict(config, _scope_='mmagic_adm')))
    shared = copy.deepcopy(whole)
    shard(shared, init_device_mesh('cpu', (2,)))
    return whole, shared


def gather_and_share_out():
    """The first process gets all weights, and each its share of others."""
    whole, shared = pair_of_networks()
    assert sum(map(torch.numel, own_share(shared.parameters()))) < 0.6 * sum(
        map(torch.numel, whole.parameters())
    )
    state = gathered(shared.state_dict())
    expected = whole.state_dict()
    if get_rank() == 0:
        assert all(torch.equal(state[key], expected[key]) for key in expected)
    else:
        assert not any(state[key].numel() for key in expected)

    doubled = {key: 2 * tensor for key, tensor in expected.items()}
    shared.load_state_dict(doubled)
    state = gathered(shared.state_dict())
    if get_rank() == 0:
        assert all(torch.equal(state[key], doubled[key]) for key in doubled)


def run_alone():
    """A process that was given all weights runs without the other."""
    whole, shared = pair_of_networks()
    unshard(shared)
    if get_rank() == 0:
        for _ in range(2):
            assert torch.equal(shared(BATCH, TIMESTEPS, LABELS), whole(BATCH, TIMESTEPS, LABELS))
    reshard(shared)
    torch.testing.assert_close(shared(BATCH, TIMESTEPS, LABELS), whole(BATCH, TIMESTEPS, LABELS))


def run_a_network_of_ones_own():
    """One that says nothing about its parts is shared out too."""
    whole = fill_by_name(Plain())
    shared = copy.deepcopy(whole)
    shard(shared, init_device_mesh('cpu', (2,)))
    assert len([m for m in shared.modules() if isinstance(m, FSDPModule)]) == 4
    x = BATCH.expand(-1, 3, -1, -1)
    torch.testing.assert_close(shared(x, TIMESTEPS), whole(x, TIMESTEPS))


def train_in_half_precision():
    """Both skip a step that overflows on one."""
    whole, shared = pair_of_networks()
    rank = get_rank()
    half = slice(4 * rank, 4 * rank + 4)
    # Only the first process's loss overflows.
    train(shared, half, overflows=(False, rank == 0, False))
    train(whole, slice(None), overflows=(False, True, False))
    trained = gathered(shared.state_dict())
    if rank == 0:
        for key, expected in whole.state_dict().items():
            torch.testing.assert_close(trained[key], expected, atol=1e-5, rtol=1e-4)


def train(network, items, overflows):
    """Three steps, with what MMEngine's AmpOptimWrapper does on a GPU."""
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler('cpu', init_scale=1024.0)
    for overflow in overflows:
        optimizer.zero_grad()
        with torch.autocast('cpu', torch.bfloat16):
            output = network(BATCH[items], TIMESTEPS[items], LABELS[items])
        loss = output.float().square().mean() * (float('inf') if overflow else 1)
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 512


def compare():
    gather_and_share_out()
    run_alone()
    run_a_network_of_ones_own()
    train_in_half_precision()


@pytest.mark.slow
def test_weights_that_are_shared_out_act_as_whole_ones():
    in_two_processes(compare)
