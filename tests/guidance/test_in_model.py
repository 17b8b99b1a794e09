"""Guidance in the model that a person samples with."""

import gc
import weakref

import pytest
import torch

from mmagic_adm.checkpoints import write_checkpoint
from mmagic_adm.guidance.assembly import build_guidance
from tests.guidance.simple import CleanClassifier  # noqa: F401  so that configs can name it
from tests.reference import fill_by_name
from tests.tiny import CLASSIFIER, UNET, build_model

CLOSE = dict(atol=1e-5, rtol=1e-4)
DDPM, DDIM = dict(type='DDPMScheduler'), dict(type='DDIMScheduler')
SOLVER = dict(type='DiffusersScheduler', type_='DPMSolverMultistepScheduler')
EDM = dict(type='EDMHeunScheduler', beta_schedule='linear', sigma_min=0.02, S_churn=2)

CLEAN = dict(type='CleanClassifier')
SOURCE = dict(type='ClassifierGuidance')
OFF_THE_SHELF = dict(
    type='OffTheShelfGuidance', classifier=CLEAN, softplus_beta=3.0, gamma_factor=0.5
)
FREE = dict(type='ClassifierFreeGuidance', scale=0.5)
GUIDANCES = {
    'classifier': SOURCE,
    'off the shelf': OFF_THE_SHELF,
    'classifier-free': FREE,
    'sum': dict(type='SumGuidance', sources=[SOURCE, OFF_THE_SHELF, FREE]),
    'paced': dict(type='ClassifierGuidance', interval=(100, 900), every=2, schedule='cosine'),
}
RULES = {
    variant: dict(type='PixelAsParamGuidance', variant=variant, source=source)
    for variant, source in (
        ('clsden', SOURCE),
        ('clsden_clsdiv', OFF_THE_SHELF),
        ('clsden_clsdiv_chained', SOURCE),
    )
}
PAIRS = [
    *(
        (GUIDANCES[name], scheduler)
        for name in GUIDANCES
        for scheduler in (DDPM, DDIM, SOLVER, EDM)
    ),
    *((rule, DDPM) for rule in RULES.values()),
]
NAMES = [
    *(
        f'{name}-{scheduler}'
        for name in GUIDANCES
        for scheduler in ('ddpm', 'ddim', 'solver', 'edm')
    ),
    *(f'{variant}-ddpm' for variant in RULES),
]


def uses_classifier(guidance):
    parts = [guidance.get('source'), *guidance.get('sources', ())]
    kind = guidance['type']
    return kind == 'ClassifierGuidance' or any(uses_classifier(part) for part in parts if part)


def guided_model(guidance, scheduler=DDPM, **changes):
    model = build_model(
        unet=dict(class_dropout_prob=0.1),
        classifier=CLASSIFIER if uses_classifier(guidance) else None,
        guidance=guidance,
        diffusion_scheduler=scheduler,
        **changes,
    )
    fill_by_name(model.guidance)
    # In double precision, in which batches of different sizes are not rounded differently.
    return model.double()


@pytest.mark.filterwarnings('ignore:__array:DeprecationWarning')
@pytest.mark.parametrize(('guidance', 'scheduler'), PAIRS, ids=NAMES)
def test_a_sample_is_its_own_whatever_is_beside_it(guidance, scheduler):
    model = guided_model(guidance, scheduler, num_inference_steps=3)
    own = list(zip([4, 8, 15], [1, 6, 2], [0.0, 3.0, 20.0], strict=True))

    def made(rows):
        seeds, labels, scales = map(list, zip(*rows, strict=True))
        return model.infer(seeds=seeds, labels=labels, classifier_scale=scales)['samples']

    together = made(own)
    torch.testing.assert_close(made(own[2:])[0], together[2], **CLOSE)
    unguided = made([own[0], (15, 2, 0.0)])
    torch.testing.assert_close(unguided[0], together[0], **CLOSE)
    assert not torch.allclose(together[2], unguided[1], **CLOSE)


class TestCost:
    def calls(self, guidance, steps=4):
        """How often network and classifier are called in so many steps."""
        model = guided_model(guidance, DDPM, num_inference_steps=steps)
        counts = dict(network=0, classifier=0)

        def count(name):
            def hook(*_):
                counts[name] += 1

            return hook

        model.unet.register_forward_hook(count('network'))
        model.classifier.register_forward_hook(count('classifier'))
        model.infer(seeds=[1, 2], labels=3)
        return counts

    @pytest.mark.parametrize('guidance', [SOURCE, RULES['clsden']])
    def test_a_guided_step_is_one_call_of_each(self, guidance):
        assert self.calls(guidance) == dict(network=4, classifier=4)

    def test_skipped_steps_cost_no_call_of_the_classifier(self):
        assert self.calls(dict(SOURCE, every=2)) == dict(network=4, classifier=2)
        assert self.calls(dict(SOURCE, interval=(0, 499))) == dict(network=4, classifier=2)

    def test_the_classifiers_graph_is_gone_before_the_next_call_of_the_network(self):
        model = guided_model(SOURCE)
        logits, alive = [], []
        model.classifier.register_forward_hook(
            lambda module, args, output: logits.append(weakref.ref(output))
        )

        def look(*_):
            gc.collect()
            alive.extend(kept for kept in logits if kept() is not None)

        model.unet.register_forward_pre_hook(look)
        model.infer(seeds=[1], labels=3)
        assert len(logits) == 4
        assert alive == []


def test_networks_of_its_own_come_with_their_weights(tmp_path):
    model = build_model(classifier=CLASSIFIER)
    for name in ('unet', 'classifier'):
        state = getattr(model, name).state_dict()
        write_checkpoint(state, tmp_path / f'{name}.safetensors', 'safetensors')
    guidance = build_guidance(
        dict(
            type='SumGuidance',
            sources=[
                dict(SOURCE, classifier=CLASSIFIER, weights=tmp_path / 'classifier.safetensors'),
                dict(FREE, other=UNET, weights=tmp_path / 'unet.safetensors'),
            ],
        )
    )
    classifier, other = guidance.sources[0].classifier, guidance.sources[1].other
    for ours, theirs in ((model.classifier, classifier), (model.unet, other)):
        expected, loaded = ours.state_dict(), theirs.state_dict()
        assert all(torch.equal(loaded[key], expected[key]) for key in expected)
        assert not any(weight.requires_grad for weight in theirs.parameters())


def test_an_unconditional_network_is_guided_off_the_shelf():
    model = build_model(unet=dict(num_classes=None), guidance=OFF_THE_SHELF)
    fill_by_name(model.guidance)
    assert model.num_classes == 10
    one, other = (
        model.infer(seeds=[1], labels=label, classifier_scale=50.0)['samples'] for label in (2, 8)
    )
    assert not torch.allclose(one, other, **CLOSE)


class TestBadInput:
    """Refused when the model is built, or a scheduler chosen; both are named."""

    @pytest.mark.parametrize(
        ('guidance', 'scheduler', 'message'),
        [
            (RULES['clsden'], DDIM, 'PixelAsParamGuidance .* DDIMScheduler'),
            (RULES['clsden'], SOLVER, 'PixelAsParamGuidance .* DiffusersScheduler'),
            (
                dict(SOURCE, interval=(2000, 3000)),
                DDIM,
                r'interval=\(2000, 3000\) of ClassifierGuidance .* DDIMScheduler',
            ),
            (
                dict(type='SumGuidance', sources=[SOURCE, dict(SOURCE, interval=(0, 5000))]),
                DDPM,
                r'interval=\(0, 5000\)',
            ),
            (
                dict(OFF_THE_SHELF, classifier=dict(CLEAN, out_channels=7)),
                DDPM,
                'OffTheShelfGuidance tells 7 classes apart, the network has 10',
            ),
        ],
    )
    @pytest.mark.filterwarnings('ignore:__array:DeprecationWarning')
    def test_pairs_that_do_not_fit(self, guidance, scheduler, message):
        with pytest.raises(ValueError, match=message):
            guided_model(guidance, scheduler)

    def test_a_network_without_a_null_label(self):
        with pytest.raises(ValueError, match='this ADMUNet has no null label'):
            build_model(guidance=FREE)

    def test_a_scheduler_chosen_later(self):
        model = guided_model(RULES['clsden'])
        model.unet.forward = None  # calling it would fail
        with pytest.raises(ValueError, match=r'PixelAsParamGuidance .* DDIMScheduler'):
            model.infer(seeds=[1], scheduler_kwargs=DDIM)
