"""A run's folder: that no other run is in it, and that what is there is made from the same."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from torch import nn

from mmagic_adm.evaluation.features import fingerprint
from mmagic_adm.files.alone import claimed

# Arguments that change no result. Where weights came from does not matter beside what they are.
OF_NO_MATTER = (
    'pretrained_cfgs',
    'use_checkpoint',
    'num_workers',
    'persistent_workers',
    'allow_reorder',
)
_NO = 'nothing'


@contextlib.contextmanager
def sole_run(folder: Path, check: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Has a folder for a run of one or several processes: they enter together, or none does.

    Args:
        folder: The folder; made if need be.
        check: What refuses a folder of another kind, once it is had. The main process calls it.

    Raises:
        ValueError: Another run has it, or the check refuses it.
    """
    refusal: list[Exception | None] = [None]
    with contextlib.ExitStack() as held:
        if is_main_process():
            try:
                held.enter_context(claimed(folder))
                check()
            except Exception as error:
                refusal = [error]
        broadcast_object_list(refusal)
        if refusal[0]:
            raise refusal[0]
        yield


def made_from(model: nn.Module, config: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """All that samples follow from, as it stands in a JSON file.

    Args:
        model: The model, not sampled from yet: a profile may round its weights.
        config: Its config.
        **more: What else they follow from.
    """
    return plain(dict(model=config, weights=fingerprint(model)[:16], **more))


def check_same(
    folder: Path, there: Mapping[str, Any], now: Mapping[str, Any], way_out: str
) -> None:
    """Refuses a folder whose content is made from something else than is wanted now."""
    if differing := differences(flattened(there), flattened(plain(now))):
        raise ValueError(
            f'{folder} belongs to another run ({"; ".join([*differing.values()][:3])}); nothing '
            f'was changed: {way_out}'
        )


def plain(value: Any) -> Any:
    """A value as it comes back from a JSON file."""
    return json.loads(json.dumps(value, default=str, sort_keys=True))


def flattened(value: Any) -> dict[str, str]:
    """The entries of nested dicts and lists as text, by names such as 'model.unet.dropout'."""
    return dict(_entries(value, ''))


def differences(there: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """By the names of the entries that differ, what each of two runs has there."""
    return {
        key: f'{key[:80]}: {there.get(key, _NO)[:80]} there, {now.get(key, _NO)[:80]} now'
        for key in {**there, **now}
        if there.get(key) != now.get(key)
    }


def _entries(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, (Mapping, list, tuple)):
        yield name, repr(value)
        return
    for key, entry in value.items() if isinstance(value, Mapping) else enumerate(value):
        if key not in OF_NO_MATTER:
            yield from _entries(entry, f'{name}.{key}' if name else str(key))
