"""The models that the demo keeps at hand, and whose turn it is to use them."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

import torch

from mmagic_adm.apis.models import default_device, init_model, model_config
from mmagic_adm.demo.catalogue import facts_of
from mmagic_adm.demo.order import Order
from mmagic_adm.files.download import fetch
from mmagic_adm.guidance.classifier import build_frozen
from mmagic_adm.models.configs import find_config


class Shelf:
    """Networks with their weights, loaded when they are first asked for.

    The networks are shared by everyone and changed by no one: whoever samples gets a model of
    their own around them, with their own guidance and scheduler.

    Args:
        device: Where the models are; None takes a GPU if there is one.
        capacity: How many models are kept, those that were used last.

    Attributes:
        turn: Held while somebody uses the device, see :meth:`next_turn`.
    """

    def __init__(self, device: str | torch.device | None = None, capacity: int = 2) -> None:
        self.device = torch.device(device) if device else default_device()
        self.turn = threading.Lock()
        self._line = threading.Lock()
        # As exact walks have it; the end of one would switch it on in the middle of another.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        self._networks = functools.lru_cache(capacity)(self._load)
        self._judge = functools.lru_cache(capacity)(self._load_judge)

    @contextlib.contextmanager
    def next_turn(self) -> Iterator[None]:
        """While this lasts, the device is the caller's, but for when they :meth:`pass_on`."""
        self._wait_in_line()
        try:
            yield
        finally:
            self.turn.release()

    def pass_on(self) -> None:
        """Lets whoever waits for the device have a turn first."""
        self.turn.release()
        self._wait_in_line()

    def _wait_in_line(self) -> None:
        # Who has just had a turn would get it again at once, were there no line to join: the first
        # of those who wait holds it.
        with self._line:
            self.turn.acquire()

    def fetch_weights(self, order: Order) -> None:
        """Brings the files that a model is loaded from: slow, and not to be waited for by others.

        Raises:
            CheckpointError: They cannot be had.
        """
        config = model_config(find_config(order.model), order.weights or True, order.changes)
        for stage in [config['base'], *config['upsamplers']] if 'base' in config else [config]:
            for source in (stage.get('pretrained_cfgs') or {}).values():
                fetch(source['ckpt_path'])

    def model_for(self, order: Order) -> Any:
        """A model as the order wants it guided.

        Raises:
            ValueError: The parts do not go together.
            CheckpointError: Its weights cannot be had.
        """
        networks = self._networks(order.model, order.weights)
        if order.facts.is_cascade:
            return networks
        config = find_config(order.model)
        wanted = model_config(config, True, order.changes)
        # What is guidance's own is loaded again: others may have theirs guided otherwise.
        own = {
            name: source['ckpt_path']
            for name, source in (wanted.get('pretrained_cfgs') or {}).items()
            if name.startswith('guidance.')
        }
        parts = dict(unet=networks.unet, codec=networks.codec)
        if wanted.get('classifier') is not None:
            parts['classifier'] = networks.classifier
        return init_model(config, self.device, weights=own, **{**parts, **order.changes})

    def judge_for(self, order: Order) -> Any | None:
        """What tells the classes of its images apart and never guided, if there is such."""
        return None if order.facts.judge is None else self._judge(order.model)

    def _load(self, model: str, weights: str) -> Any:
        # Guidance may bring networks of its own, to be loaded only if they are used.
        changes: dict[str, Any] = {} if facts_of(model).is_cascade else dict(guidance=None)
        return init_model(model, self.device, weights or True, **changes)

    def _load_judge(self, model: str) -> Any:
        return build_frozen(dict(facts_of(model).judge or {})).to(self.device)
