"""Loading a network's weights: all of them, or none."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.logging import print_log
from torch import nn

from mmagic_adm.checkpoints.checkpoint import read_checkpoint
from mmagic_adm.checkpoints.formats import Shapes, StateDict, shapes_of
from mmagic_adm.checkpoints.parts import sort_into_parts
from mmagic_adm.checkpoints.zoo import ZooEntry, entries_that_fit
from mmagic_adm.files.whole import CheckpointError

_SHOWN = 3


@dataclass(frozen=True)
class LoadReport:
    """What :func:`load_network` did.

    Args:
        network: The network's class.
        source: The path or URL.
        layout: How the file was laid out.
        loaded: How many tensors the network was given.
        kept: Those of the network that were left as they were.
        left_out: Those of the file that the network was not given.
    """

    network: str
    source: str
    layout: str
    loaded: int
    kept: tuple[str, ...]
    left_out: tuple[str, ...]

    def __str__(self) -> str:
        said = f'{self.network}: {self.loaded} tensors loaded from {self.source}'
        if self.kept:
            said += f'; {len(self.kept)} kept as they were ({shortened(self.kept)})'
        if self.left_out:
            said += f'; {len(self.left_out)} of the file left out ({shortened(self.left_out)})'
        return said


def load_network(
    network: nn.Module,
    source: str | Path,
    prefix: str | None = None,
    ignore: Sequence[str] = (),
    ema: bool = True,
) -> LoadReport:
    """Gives a network the weights in a file, whose tensors must be exactly the network's.

    Args:
        network: A network, of ADM's or any other.
        source: A path or a URL; see :func:`read_checkpoint`.
        prefix: What the file calls the network, where it holds several.
        ignore: Tensors, or modules, to leave as they are in the network, whether or not the file
            has them: ``['label_emb']`` to train on other classes.
        ema: Whether to take the averaged weights, where the file holds them beside those that
            were trained.

    Returns:
        What was loaded, and what was not.

    Raises:
        CheckpointError: The file cannot be read, or its tensors are not the network's.
    """
    if isinstance(ignore, str):
        raise TypeError(f'ignore is a list of names: [{ignore!r}]')
    own = network.state_dict()
    checkpoint = read_checkpoint(source, prefix, ema, like=own)
    if len(checkpoint.parts) > 1:
        parts = ', '.join(checkpoint.parts)
        raise CheckpointError(f'{source} holds {parts}: choose one with prefix=')

    given = checkpoint.state_dict
    for name in ignore:
        if not any(is_under(key, [name]) for key in (*own, *given)):
            raise ValueError(f'ignore names {name!r}, which neither {source} nor the network has')
    state = fitted(given, network, source, ignore)
    kept = {key: tensor for key, tensor in own.items() if is_under(key, ignore)}
    network.load_state_dict({**state, **kept})
    report = LoadReport(
        network=type(network).__name__,
        source=str(source),
        layout=checkpoint.layout,
        loaded=len(state),
        kept=tuple(kept),
        left_out=(*(key for key in given if key not in state), *checkpoint.left_out),
    )
    print_log(str(report), logger='current')
    return report


def fitted(
    given: StateDict, network: nn.Module, source: str | Path, ignore: Sequence[str] = ()
) -> StateDict:
    """Those of a file's tensors that a network takes; refuses what is not exactly the network's.

    Args:
        given: The tensors, under the network's names.
        network: The network, or a model of several.
        source: What to call the file.
        ignore: Tensors, or modules, that are looked for in neither.
    """
    own = network.state_dict()
    state = {key: tensor for key, tensor in given.items() if not is_under(key, ignore)}
    wanted = {key: tensor for key, tensor in own.items() if not is_under(key, ignore)}
    mismatch = compare(shapes_of(state), shapes_of(wanted))
    if mismatch:
        raise CheckpointError(
            f'{source} does not fit this {type(network).__name__}: {mismatch}; {_what_fits(given)}'
        )
    return state


def compare(given: Shapes, wanted: Shapes) -> str:
    """How a file's tensors differ from a network's, in words; nothing if they do not."""
    differences = {
        'missing': [key for key in wanted if key not in given],
        'extra': [key for key in given if key not in wanted],
        'of another shape': [
            f'{key} {_written(given[key])} for {_written(shape)}'
            for key, shape in wanted.items()
            if key in given and given[key] != shape
        ],
    }
    return '; '.join(
        f'{len(names)} {what} ({shortened(names)})' for what, names in differences.items() if names
    )


def what_fits(given: Shapes) -> str:
    """Says which network a file's tensors are of."""
    configs = list(dict.fromkeys(map(_config_of, entries_that_fit(given))))
    if configs:
        return f'the file fits the network of {" or ".join(configs)}'
    return 'no released network has these tensors; config_from_checkpoint() says what they make up'


def shortened(names: Collection[str]) -> str:
    """The first few of some names."""
    shown = ', '.join(list(names)[:_SHOWN])
    return f'{shown}, …' if len(names) > _SHOWN else shown


def is_under(key: str, prefixes: Iterable[str]) -> bool:
    """Whether a tensor's name is one of these, or lies below one."""
    return any(key == prefix or key.startswith(f'{prefix}.') for prefix in prefixes)


def _what_fits(given: StateDict) -> str:
    """The same of each network in a state dict."""
    networks, _ = sort_into_parts(given)
    said = [
        f'{part}: {what_fits(shapes_of(state))}' if part else what_fits(shapes_of(state))
        for part, state in networks.items()
    ]
    return '; '.join(said) or 'no ADM network is in it'


def _written(shape: tuple[int, ...]) -> str:
    return 'x'.join(map(str, shape)) or 'scalar'


def _config_of(entry: ZooEntry) -> str:
    changes = ', '.join(f'{name}={value!r}' for name, value in entry.overrides.items())
    return f'configs/{entry.network}{" with " if changes else ""}{changes}'
