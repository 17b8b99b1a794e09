"""The models that the demo keeps at hand, and whose turn it is to use them."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from mmagic_adm.apis.models import default_device, init_model, model_config
from mmagic_adm.demo.catalogue import ModelFacts
from mmagic_adm.demo.order import Order
from mmagic_adm.files.download import fetch
from mmagic_adm.guidance.classifier import build_frozen
from mmagic_adm.models.configs import find_config

Kept = TypeVar('Kept')


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
        self._models: _Recent[Any] = _Recent(capacity)
        self._classifiers: _Recent[nn.Module] = _Recent(capacity)

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
        config = model_config(find_config(order.model))
        for stage in [config['base'], *config['upsamplers']] if 'base' in config else [config]:
            for source in stage.get('pretrained_cfgs', {}).values():
                fetch(source['ckpt_path'])

    def model_for(self, order: Order) -> Any:
        """A model as the order wants it guided.

        Raises:
            ValueError: The parts do not go together.
            CheckpointError: Its weights cannot be had.
        """
        networks = self._networks_of(order)
        if order.facts.is_cascade:
            return networks
        config = find_config(order.model)
        parts = dict(unet=networks.unet, classifier=networks.classifier) | order.changes
        guidance = parts.pop('guidance', config.model.to_dict().get('guidance'))
        kept = self._with_kept_classifiers(guidance)
        return init_model(config, self.device, weights=False, guidance=kept, **parts)

    def classifier_for(self, order: Order) -> Any | None:
        """The noise-aware classifier of the order's model, whether or not it guides."""
        return getattr(self._networks_of(order), 'classifier', None)

    def judge_for(self, facts: ModelFacts) -> Any | None:
        """What tells the classes of the model's images apart without noise, where there is such."""
        if facts.judge is None:
            return None
        return self._classifier(dict(facts.judge))

    def _networks_of(self, order: Order) -> Any:
        """A model with the order's networks, loaded once."""
        # Guidance may bring a classifier of its own, to be fetched only if it is used.
        changes: dict[str, Any] = {} if order.facts.is_cascade else dict(guidance=None)
        return self._models.get(
            order.model, lambda: init_model(order.model, self.device, **changes)
        )

    def _with_kept_classifiers(self, guidance: Any) -> Any:
        """The config of a guidance, with its off-the-shelf classifiers taken from the shelf."""
        if not isinstance(guidance, dict):
            return guidance
        filled = {key: self._with_kept_classifiers(value) for key, value in guidance.items()}
        if filled.get('type') == 'OffTheShelfGuidance':
            named = filled['classifier']
            if isinstance(named, str):
                named = dict(type='TorchvisionClassifier', name=named)
            filled['classifier'] = self._classifier(named)
        return filled

    def _classifier(self, config: dict[str, Any]) -> nn.Module:
        name = json.dumps(config, sort_keys=True)
        return self._classifiers.get(name, lambda: build_frozen(config).to(self.device))


class _Recent(Generic[Kept]):
    """What was used last."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def get(self, name: str, load: Callable[[], Kept]) -> Kept:
        """What has this name, loaded if need be; what has waited longest makes room for it."""
        if name not in self._kept:
            while len(self._kept) >= self.capacity:
                self._kept.popitem(last=False)
            self._kept[name] = load()
        self._kept.move_to_end(name)
        return self._kept[name]
