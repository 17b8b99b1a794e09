"""The package is found through MMEngine alone, and pulls in no more than it needs."""

import re
import subprocess
import sys
import textwrap

import pytest
from mmagic import registry as mmagic
from mmengine import MODELS
from mmengine.registry import DefaultScope

from tests.reference import REPOSITORY

UNET = """dict(type='ADMUNet', _scope_='mmagic_adm', image_size=8, model_channels=32,
               num_res_blocks=1, attention_resolutions=(4,), channel_mult=(1, 2))"""


def run(code: str) -> str:
    """Runs code in a fresh interpreter, where nothing is imported yet."""
    result = subprocess.run(
        [sys.executable, '-c', textwrap.dedent(code)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


SCOPES = pytest.mark.parametrize('scope', ['mmagic', None])


@SCOPES
def test_a_config_is_looked_up_here_before_the_toolbox_imports_its_modules(scope, monkeypatch):
    def imports():
        raise AssertionError("the toolbox's models are imported")

    monkeypatch.setattr(mmagic.MODELS, 'import_from_location', imports)
    with DefaultScope.overwrite_default_scope(scope):
        network = MODELS.build(eval(UNET))
    assert type(network).__module__ == 'mmagic_adm.networks.unet'


def test_of_the_toolbox_only_registries_and_structures_are_imported():
    files = (REPOSITORY / 'mmagic_adm').rglob('*.py')
    code = '\n'.join(file.read_text() for file in files)
    imports = set(re.findall(r'^ *((?:from|import) mmagic\b.*)', code, re.M))
    registries = 'from mmagic import registry as mmagic'
    assert imports == {registries, 'from mmagic.structures import DataSample'}


@pytest.mark.slow
@SCOPES
def test_a_config_is_built_without_importing_the_toolboxs_models(scope):
    output = run(f"""
        import sys
        from mmengine import MODELS
        from mmengine.registry import init_default_scope
        if {scope!r}:
            init_default_scope({scope!r})
        network = MODELS.build({UNET})
        print(type(network).__module__, 'mmagic.models' in sys.modules)
    """)
    assert output.endswith('mmagic_adm.networks.unet False')


@pytest.mark.slow
def test_the_prefix_is_optional_under_our_own_scope():
    output = run(f"""
        from mmengine import MODELS
        from mmengine.registry import init_default_scope
        init_default_scope('mmagic_adm')
        cfg = {UNET}
        cfg.pop('_scope_')
        print(type(MODELS.build(cfg)).__name__)
    """)
    assert output.endswith('ADMUNet')


def test_every_registry_of_mmagic_has_a_child():
    from mmagic_adm import registry as ours

    for name in mmagic.__all__:
        child = getattr(ours, name)
        assert child.parent is getattr(mmagic, name)
        assert child.scope == 'mmagic_adm'


def test_who_asks_whether_a_type_is_there_is_told():
    from mmagic_adm.registry import MODELS

    assert 'ADMUNet' in MODELS
    assert 'ADMUnet' not in MODELS


def test_mmengines_own_modules_are_found_through_ours():
    import mmengine.hooks
    import torch

    from mmagic_adm.registry import HOOKS, OPTIMIZERS

    assert HOOKS.get('CheckpointHook') is mmengine.hooks.CheckpointHook
    assert OPTIMIZERS.get('AdamW') is torch.optim.AdamW


@pytest.mark.slow
def test_ours_comes_first_where_the_toolbox_has_modules_of_the_same_name():
    output = run(f"""
        import mmagic_adm
        from mmagic.registry import MODELS as MMAGIC_MODELS
        from mmengine import MODELS
        from mmengine.registry import init_default_scope

        @MMAGIC_MODELS.register_module()
        class ADMUNet:
            def __init__(self, **kwargs): ...

        @MMAGIC_MODELS.register_module()
        class OnlyThere:
            ...

        init_default_scope('mmagic')
        ours = MODELS.build({UNET})
        theirs = MODELS.build(dict(type='OnlyThere', _scope_='mmagic_adm'))
        print(type(ours).__module__, type(theirs).__name__)
    """)
    assert output.endswith('mmagic_adm.networks.unet OnlyThere')
