"""What happens when somebody presses a button, from their fields to files and pictures."""

from __future__ import annotations

import dataclasses
import secrets
import sys
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from mmagic_adm.apis.sampling import is_out_of_memory
from mmagic_adm.demo.background import Report, Stop, StoppedError, follow
from mmagic_adm.demo.hole import HoleTab
from mmagic_adm.demo.making import Progress, make
from mmagic_adm.demo.order import read_order
from mmagic_adm.demo.outputs import Outputs
from mmagic_adm.demo.reproduction import as_command, as_python
from mmagic_adm.demo.shelf import Shelf
from mmagic_adm.demo.tabs import Tab, Updates, first_classes
from mmagic_adm.diffusion.randomness import MAX_SEED

FORESEEN = (ValueError, ArithmeticError, ImportError, OSError)


@dataclasses.dataclass
class Runs:
    """What the buttons do.

    Args:
        shelf: Where the models are.
        outputs: Where each run gets a folder.
        models: Names of the models that may be asked for.
        device: The device, if it was said which; the copied code says it again.
        own_weights: Whether a visitor may name weights, see :func:`~mmagic_adm.demo.start_server`.
        seconds: How long an image took, by the model that made it.
        running: What ends the work that is going on.
    """

    shelf: Shelf
    outputs: Outputs
    models: Collection[str]
    device: str | None = None
    own_weights: bool = False
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    running: set[Stop] = dataclasses.field(default_factory=set)

    def results(self, tab: Tab, stop: Stop, *values: Any) -> Iterator[Updates]:
        """Makes what is asked for, and shows it.

        Args:
            tab: Where it is asked for.
            stop: Ends the work.
            *values: What stands in the tab's own fields, and in those of all.
        """

        def work(report: Report[Progress]) -> Updates:
            made = make(self.shelf, tab.read(*self._allowed(tab, values)), report)
            order, folder = made.order, self.outputs.write(made)
            self.seconds[order.model] = made.seconds / len(made.captions)
            copied = [form(order, folder, self.device) for form in (as_python, as_command)]
            return tab.results(made, folder, *copied)

        return self._followed(work, tab, stop)

    def picture(self, tab: HoleTab, stop: Stop, *values: Any) -> Iterator[Updates]:
        """Makes a picture to paint on, by a seed that no draw is likely to have."""

        def work(report: Report[Progress]) -> Updates:
            _, fields = self._allowed(tab, values)
            order = read_order(*first_classes(fields, 1, 1))
            order = dataclasses.replace(order, seed=secrets.randbelow(MAX_SEED))
            return tab.show(make(self.shelf, order, report).samples.images[0])

        return self._followed(work, tab, stop)

    def _allowed(self, tab: Tab, values: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
        """What stands in the tab's own fields, and in those of all, if everybody may ask for it."""
        own, fields = values[: len(tab.own)], values[len(tab.own) :]
        model, weights, *_ = fields
        # A config is Python, and a path would run any that is on this machine.
        if model not in self.models:
            raise ValueError('there is no such model here: choose another')
        if weights and not self.own_weights:
            raise ValueError('weights of your own are for a server started with --own-weights')
        return own, fields

    def _followed(
        self, work: Callable[[Report[Progress]], Updates], tab: Tab, stop: Stop
    ) -> Iterator[Updates]:
        """Updates of the page while the work goes on; an error becomes a line on the page."""
        self.running.add(stop)
        try:
            for news in follow(work, stop):
                yield tab.progress(news) if isinstance(news, Progress) else news
        except StoppedError:
            yield tab.message('Stopped before an image was done.')
        except Exception as error:
            yield tab.message(_explained(error), 'error')
        finally:
            self.running.discard(stop)


def _explained(error: Exception) -> str:
    """What went wrong, in one line; what was not foreseen is shown to whoever runs the server."""
    said = ' '.join(str(error).split())
    if isinstance(error, RuntimeError) and is_out_of_memory(error):
        return 'There is not enough memory for this: ask for fewer images, or a smaller model.'
    if said and isinstance(error, FORESEEN):
        return said[0].upper() + said[1:]
    traceback.print_exception(error, file=sys.stderr)
    return f'{type(error).__name__}: {said}'
