"""Compiled networks: one whole graph, whatever the batch; as written where compiling fails."""

import pytest
import torch
from torch._dynamo.backends.common import aot_autograd
from torch._functorch.aot_autograd import make_boxed_func

from mmagic_adm.guidance.classifier import ClassifierGuidance
from mmagic_adm.models.compiled import CompiledCall, Run, record_of, why_compile
from tests.networks.own import Plain
from tests.tiny import CLASSIFIER, build_latent_model, build_model

GPU = torch.device('cuda')


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv('MMAGIC_ADM_CACHE', str(tmp_path))
    torch._dynamo.reset()


class Counter:
    """A compiler that changes nothing, and counts the graphs that it is given."""

    def __init__(self, is_boxed: bool = False) -> None:
        self.graphs, self.is_boxed = 0, is_boxed

    def __call__(self, graph, inputs):
        self.graphs += 1
        return make_boxed_func(graph.forward) if self.is_boxed else graph.forward


def unet_and_classifier():
    # They attend in the middle alone, and one of them has one level: so they are compiled sooner.
    middle = dict(attention_resolutions=())
    model = build_model(unet=middle, classifier={**CLASSIFIER, **middle, 'channel_mult': (1,)})
    return model.unet, model.classifier


def in_any_batch(call, network):
    """Calls as samplers do: batches of any size at any timestep, which their samples share."""
    shape = network.in_channels, network.image_size, network.image_size
    with torch.no_grad():
        for count, t in ((2, 0), (2, 999), (5, 10), (3, 500)):
            x, labels = torch.randn(count, *shape), torch.arange(count)
            timesteps = torch.as_tensor(t).expand(count)
            torch.testing.assert_close(call(x, timesteps, labels), network(x, timesteps, labels))


class TestGraphs:
    @pytest.mark.parametrize(
        'build',
        [
            pytest.param(lambda: unet_and_classifier()[0], id='ADMUNet'),
            pytest.param(lambda: build_latent_model().unet, id='DiT', marks=pytest.mark.slow),
        ],
    )
    def test_a_network_is_one_graph_for_any_batch_and_timestep(self, build):
        network, counter = build(), Counter()
        call = CompiledCall(network, torch.float32, backend=counter)
        in_any_batch(call, network)
        assert call.compiled is not None
        assert counter.graphs == 1

    def test_so_is_a_classifier_and_the_way_back_to_its_gradient(self):
        """As guidance takes it: one graph there and one back, made together."""
        _, classifier = unet_and_classifier()
        there, back = Counter(is_boxed=True), Counter(is_boxed=True)
        backend = aot_autograd(fw_compiler=there, bw_compiler=back)
        guidance = ClassifierGuidance(classifier)

        def gradients():
            return [
                guidance.gradient(x, torch.as_tensor(t).expand(len(x)), x, torch.arange(len(x)))
                for x, t in zip(noisy, (0, 999, 7), strict=True)
            ]

        noisy = [torch.randn(count, 3, 8, 8) for count in (2, 4, 3)]
        expected = gradients()
        classifier._compiled_call_impl = CompiledCall(classifier, torch.float32, backend=backend)
        torch.testing.assert_close(gradients(), expected)
        assert (there.graphs, back.graphs) == (1, 1)

    def test_so_is_a_network_of_ones_own_which_may_be_given_plain_numbers(self):
        network, counter = Plain(), Counter()
        call = CompiledCall(network, torch.float32, backend=counter)
        with torch.no_grad():
            for count in (2, 3):
                x, t = torch.randn(count, 3, 8, 8), torch.tensor(5)
                torch.testing.assert_close(call(x, t), network(x, t))
        assert counter.graphs == 1


def test_where_compiling_fails_the_network_runs_as_written():
    network = Plain()

    def broken(graph, inputs):
        raise RuntimeError('no compiler on this machine')

    call = CompiledCall(network, torch.float32, backend=broken)
    x, t = torch.randn(2, 3, 8, 8), torch.tensor([1, 1])
    with torch.no_grad():
        torch.testing.assert_close(call(x, t), network(x, t))
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

    @pytest.mark.slow
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
