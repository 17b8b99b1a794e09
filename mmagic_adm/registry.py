"""Child registries of scope ``mmagic_adm``; each one's parent is MMagic's registry of that name.

``_scope_='mmagic_adm'`` in a config makes MMEngine import this module and look here first. A
registry imports its ``locations`` when something is first looked up in it.
"""

from typing import Any

from mmagic import registry as mmagic
from mmengine.registry import Registry

from mmagic_adm.compat.config_bases import know_own_bases
from mmagic_adm.configs import nearest

SCOPE = 'mmagic_adm'

# Whoever reads a config comes by here: this package's own functions, or MMEngine by ``_scope_``.
know_own_bases()


class _Child(Registry):
    """MMEngine's registry, which says what could have been meant by a type that it lacks.

    Runners look here too, for whatever they build under this scope.
    """

    def get(self, key: str) -> Any:
        """The class or function of this name.

        Raises:
            ValueError: There is none, here or in its parents; the message suggests some.
        """
        found = super().get(key)
        if found is None:
            parent: Registry | None = self
            names: set[str] = set()
            while parent is not None:
                names.update(parent.module_dict)
                parent = parent.parent
            hint = nearest(key, sorted(names), 'is the file that registers it in custom_imports?')
            kinds = self.name.replace('_', ' ')
            raise ValueError(f'there is no type {key!r} in the registry of {kinds}s; {hint}')
        return found

    def __contains__(self, key: str) -> bool:
        return super().get(key) is not None

    def build(self, cfg: Any, *args: Any, **kwargs: Any) -> Any:
        """What a config describes.

        Raises:
            ValueError: It names no type.
        """
        if isinstance(cfg, dict) and 'type' not in cfg:
            given = ', '.join(key for key in cfg if key != '_scope_') or 'nothing'
            raise ValueError(f'the config of a {self.name} has a type; this one has {given}')
        return super().build(cfg, *args, **kwargs)


def _child(parent: Registry, *locations: str) -> Registry:
    return _Child(parent.name, parent=parent, scope=SCOPE, locations=list(locations))


MODELS = _child(
    mmagic.MODELS,
    'mmagic_adm.networks',
    'mmagic_adm.codecs',
    'mmagic_adm.denoisers',
    'mmagic_adm.guidance',
    'mmagic_adm.measurements',
    'mmagic_adm.models',
    'mmagic_adm.evaluation',
    'mmagic_adm.compat.mmagic_names',
)
DIFFUSION_SCHEDULERS = _child(
    mmagic.DIFFUSION_SCHEDULERS,
    'mmagic_adm.schedulers',
    'mmagic_adm.compat.mmagic_names',
)
DATASETS = _child(mmagic.DATASETS, 'mmagic_adm.datasets')
DATA_SAMPLERS = _child(mmagic.DATA_SAMPLERS, 'mmagic_adm.datasets')
TRANSFORMS = _child(mmagic.TRANSFORMS, 'mmagic_adm.datasets')
METRICS = _child(mmagic.METRICS, 'mmagic_adm.evaluation')
EVALUATORS = _child(mmagic.EVALUATORS, 'mmagic_adm.evaluation')
HOOKS = _child(mmagic.HOOKS, 'mmagic_adm.engine')
LOOPS = _child(mmagic.LOOPS, 'mmagic_adm.engine')

# Nothing of ours lives in the rest. They exist so that a runner whose default scope is
# ``mmagic_adm`` finds MMagic's and MMEngine's modules through them without a warning.
LOG_PROCESSORS = _child(mmagic.LOG_PROCESSORS)
MODEL_WRAPPERS = _child(mmagic.MODEL_WRAPPERS)
OPTIMIZERS = _child(mmagic.OPTIMIZERS)
OPTIM_WRAPPERS = _child(mmagic.OPTIM_WRAPPERS)
OPTIM_WRAPPER_CONSTRUCTORS = _child(mmagic.OPTIM_WRAPPER_CONSTRUCTORS)
PARAM_SCHEDULERS = _child(mmagic.PARAM_SCHEDULERS)
RUNNERS = _child(mmagic.RUNNERS, 'mmagic_adm.engine')
RUNNER_CONSTRUCTORS = _child(mmagic.RUNNER_CONSTRUCTORS)
TASK_UTILS = _child(mmagic.TASK_UTILS)
VISBACKENDS = _child(mmagic.VISBACKENDS)
VISUALIZERS = _child(mmagic.VISUALIZERS)
WEIGHT_INITIALIZERS = _child(mmagic.WEIGHT_INITIALIZERS)


def build_part(registry: Registry, part: dict | Any) -> Any:
    """A part of a model from its config, looked up here first whatever the default scope is."""
    return registry.build({'_scope_': SCOPE, **part}) if isinstance(part, dict) else part
