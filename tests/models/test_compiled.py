"""Compiled networks: one whole graph, whatever the batch; as written where compiling fails."""

import pytest
import torch

from mmagic_adm.models.compiled import CompiledCall, Run, record_of, why_compile
from tests.networks.own import Plain
from tests.tiny import CLASSIFIER, build_model

GPU = torch.device('cuda')


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv('MMAGIC_ADM_CACHE', str(tmp_path))
    torch._dynamo.reset()


class Counter:
    """A compiler that changes nothing, and counts the graphs that it is given."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph, inputs):
        self.graphs += 1
        return graph.forward


def unet_and_classifier():
    model = build_model(classifier=CLASSIFIER)
    return model.unet, model.classifier


class TestGraphs:
    def test_a_unet_is_one_graph_for_any_batch_and_timestep(self):
        unet, _ = unet_and_classifier()
        counter = Counter()
        call = CompiledCall(unet, torch.float32, backend=counter)
        with torch.no_grad():
            for count, t in ((2, 0), (2, 999), (5, 10), (3, 500)):
                x, labels = torch.randn(count, 3, 8, 8), torch.arange(count)
                timesteps = torch.as_tensor(t).expand(count)
                expected = unet(x, timesteps, labels)
                torch.testing.assert_close(call(x, timesteps, labels), expected)
        assert call.compiled is not None
        assert counter.graphs == 1

    def test_so_is_a_classifier_with_its_gradient(self):
        _, classifier = unet_and_classifier()
        counter = Counter()
        call = CompiledCall(classifier, torch.float32, backend=counter)
        for count, t in ((2, 0), (4, 7), (3, 999)):
            x = torch.randn(count, 3, 8, 8, requires_grad=True)
            timesteps = torch.full((count,), t)
            found, expected = (
                torch.autograd.grad(network(x, timesteps).log_softmax(1)[:, 0].sum(), x)[0]
                for network in (call, classifier)
            )
            torch.testing.assert_close(found, expected)
        assert counter.graphs == 1

    def test_so_is_a_network_of_ones_own_which_may_be_given_plain_numbers(self):
        network, counter = Plain(), Counter()
        call = CompiledCall(network, torch.float32, backend=counter)
        with torch.no_grad():
            for count in (2, 3):
                x, t = torch.randn(count, 3, 8, 8), torch.tensor(5)
                torch.testing.assert_close(call(x, t), network(x, t))
        assert counter.graphs == 1


def test_where_compiling_fails_the_network_runs_as_written():
    unet, _ = unet_and_classifier()

    def broken(graph, inputs):
        raise RuntimeError('no compiler on this machine')

    call = CompiledCall(unet, torch.float32, backend=broken)
    x, t, labels = torch.randn(2, 3, 8, 8), torch.tensor([1, 1]), torch.tensor([0, 1])
    with torch.no_grad():
        torch.testing.assert_close(call(x, t, labels), unet(x, t, labels))
    assert call.compiled is None


def test_an_error_of_the_networks_own_is_raised():
    unet, _ = unet_and_classifier()
    call = CompiledCall(unet, torch.float32, backend=Counter())
    with pytest.raises(ValueError, match='needs labels'):
        call(torch.randn(2, 3, 8, 8), torch.tensor([1, 1]))


@pytest.mark.slow
def test_compiled_samples_are_those_of_the_network_as_written():
    samples = [
        build_model(classifier=CLASSIFIER, profile=dict(base='exact', compiled=value)).infer(
            seeds=range(3)
        )['samples']
        for value in (False, True)
    ]
    torch.testing.assert_close(*samples, atol=4e-5, rtol=1e-4)


class TestWhyCompile:
    @staticmethod
    def choose(calls: int, seconds: float = 1.0, **changes) -> tuple[bool, str]:
        networks = unet_and_classifier()
        run = Run(networks, calls, lambda: seconds)
        return why_compile(run, **{'device': GPU, 'dtype': torch.bfloat16, **changes})

    def test_a_long_run_is_worth_it_and_a_short_one_is_not(self):
        pays, reason = self.choose(calls=25)
        assert not pays
        assert '25 calls of 1 s would save' in reason
        assert self.choose(calls=100_000)[0]

    def test_code_from_before_is_used_whatever_the_run(self):
        networks = unet_and_classifier()
        for network in networks:
            record = record_of(network, torch.bfloat16)
            record.parent.mkdir(exist_ok=True)
            record.touch()
        pays, reason = why_compile(Run(networks, 1, lambda: 0.0), GPU, torch.bfloat16)
        assert pays
        assert 'from before' in reason
        assert not self.choose(calls=1, dtype=torch.float16)[0]

    def test_a_first_call_that_worked_is_remembered(self):
        unet, _ = unet_and_classifier()
        call = CompiledCall(unet, torch.float32, backend=Counter())
        assert not call.record.exists()
        with torch.no_grad():
            call(torch.randn(2, 3, 8, 8), torch.tensor([1, 1]), torch.tensor([0, 1]))
        assert record_of(unet, torch.float32).exists()

    def test_a_network_of_another_shape_is_another(self):
        unet, classifier = unet_and_classifier()
        other = build_model(unet=dict(num_res_blocks=2)).unet
        assert len({record_of(part, torch.float32) for part in (unet, classifier, other)}) == 3
