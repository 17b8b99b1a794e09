"""What makes MMEngine's runner load every layout known here, and never a wrong file."""

import functools
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import Tensor, nn

from mmagic_adm.checkpoints.download import fetch
from mmagic_adm.checkpoints.errors import CheckpointError
from mmagic_adm.checkpoints.fit import compare, is_under, what_fits
from mmagic_adm.checkpoints.key_names import network_prefixes
from mmagic_adm.checkpoints.parts import StateDict, kind_of, sort_into_parts
from mmagic_adm.checkpoints.reading import read_document
from mmagic_adm.checkpoints.shapes import shapes_of


def recognise_on_load(model: nn.Module, optional: Sequence[str] = ()) -> None:
    """Makes ``model.load_state_dict``, and so a runner, know every layout and refuse a misfit.

    A runner loads with ``strict=False``: given the wrong file it would leave the model as it was
    initialised, and its images and figures would be silently wrong. From now on the tensors must
    be exactly the model's, whatever ``strict`` says, under any names that are known here. A file
    of one network goes to the model's ``unet`` or ``classifier``, by its kind. Networks in the
    file that the model has no place for are left out, and named.

    MMEngine's runners in this process also get a loader that reads every layout, downloads into
    the cache, and runs nothing that is in a file.

    Args:
        model: A model with networks called ``unet``, ``classifier``, or both; or a network.
        optional: Networks of the model that a file may lack, such as one with a file of its own.
    """
    use_safe_loader()
    # The public method has this name without the underscore, but only since torch 2.5. What it
    # keeps is picklable, so that the model stays so.
    model._register_load_state_dict_pre_hook(
        functools.partial(_recognise, optional=tuple(optional)), with_module=True
    )


def use_safe_loader() -> None:
    """Makes MMEngine's runners in this process load files as they are loaded here."""
    CheckpointLoader.register_scheme(
        ['', 'http://', 'https://', 'file://'], load_from_mmagic_adm, force=True
    )


def load_from_mmagic_adm(
    filename: str, map_location: Any = 'cpu', mmap: bool = False
) -> dict[str, Any]:
    """Loader for MMEngine: a file of any layout in the form of a runner's checkpoint.

    Args:
        filename: A path or a URL.
        map_location: As in :func:`torch.load`.
        mmap: Whether to map the tensors from the file, which must then stay as it is while they
            are in use. A runner may overwrite the file that it resumed from.
    """
    document, _ = read_document(fetch(filename), map_location, mmap=mmap)
    state_dict = OrderedDict(document['state_dict'])
    metadata = dict(getattr(document['state_dict'], '_metadata', {}))
    # What travels here reaches the hook, which can then name the file.
    metadata[''] = {**metadata.get('', {}), 'source': filename}
    state_dict._metadata = metadata  # type: ignore[attr-defined]
    # A resuming runner would run this one as Python.
    meta = {key: value for key, value in document['meta'].items() if key != 'config'}
    return {**document, 'state_dict': state_dict, 'meta': meta}


def _recognise(
    model: nn.Module,
    state_dict: dict[str, Any],
    prefix: str,
    metadata: Mapping[str, Any],
    *_: Any,
    optional: tuple[str, ...],
) -> None:
    """What ``load_state_dict`` calls first: puts the tensors under the model's names."""
    keys = [key for key in state_dict if key.startswith(prefix)]
    given = {key.removeprefix(prefix): state_dict.pop(key) for key in keys}
    fitted = _fitted(given, model, optional, metadata.get('source', 'the checkpoint'))
    state_dict.update({prefix + key: tensor for key, tensor in fitted.items()})


def _fitted(given: StateDict, model: nn.Module, optional: Sequence[str], source: str) -> StateDict:
    """The tensors under the model's names; refuses those that are not the model's."""
    own = model.state_dict()
    if given.keys() != own.keys():
        given = _under_own_names(given, own)
    absent = [part for part in optional if not any(is_under(key, [part]) for key in given)]
    wanted = {key: tensor for key, tensor in own.items() if not is_under(key, absent)}
    mismatch = compare(shapes_of(given), shapes_of(wanted))
    if mismatch:
        raise CheckpointError(
            f'{source} does not fit this {type(model).__name__}: {mismatch}; '
            f'{_what_fits_each(given)}'
        )
    return given


def _under_own_names(given: StateDict, own: Mapping[str, Tensor]) -> StateDict:
    found = sort_into_parts(given)
    renamed = found.others
    for part, state in found.networks.items():
        place = _place(part, state, own)
        if place is None:
            print_log(
                f'{len(state)} tensors of {part or kind_of(state)!r} were left out: the model has '
                'no such network',
                logger='current',
            )
        else:
            renamed |= {place + key: tensor for key, tensor in state.items()}
    return renamed


def _place(part: str, state: StateDict, own: Mapping[str, Tensor]) -> str | None:
    """The prefix of the model's network that a file's network is for, if there is one."""
    kind = kind_of(state)
    prefixes = network_prefixes(own)
    if prefixes == ['']:
        return '' if kind == kind_of(own) else None
    place = f'{part or kind}.'
    return place if place in prefixes else None


def _what_fits_each(given: StateDict) -> str:
    networks = sort_into_parts(given).networks
    return (
        '; '.join(
            f'{part}: {what_fits(shapes_of(state))}' if part else what_fits(shapes_of(state))
            for part, state in networks.items()
        )
        or 'no ADM network is in it'
    )
