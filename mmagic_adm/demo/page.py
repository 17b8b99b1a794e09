"""The page: the fields on the left, and what can be done with them in tabs on the right."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from mmagic_adm.demo.background import Stop
from mmagic_adm.demo.fields import QUICK, Fields
from mmagic_adm.demo.hole import HoleTab
from mmagic_adm.demo.making import Progress
from mmagic_adm.demo.preview import progress_html
from mmagic_adm.demo.runs import Runs
from mmagic_adm.demo.tabs import SweepTab, Tab, TrajectoryTab, Updates

TITLE = 'mmagic-adm'
SUBTITLE = 'Class-conditional diffusion, guided'

# How many may wait for the device; and be at work: they take turns on it, so none of them waits for
# the end of another's run. Each has a model in memory.
LONGEST_QUEUE, AT_ONCE = 20, 4

# On a small screen the pictures may be below what is seen.
TO_PICTURES = """() => {
  const block = window.innerWidth > 800 ? 'nearest' : 'start';
  document.getElementById('PLACE-view').scrollIntoView({block});
  return [null];
}"""


def build_page(runs: Runs, model: str) -> gr.Blocks:
    """Lays out the page.

    Args:
        runs: What the buttons do.
        model: The one that is chosen at first.
    """
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(f'<div class="adm-title"><h1>{TITLE}</h1><p>{SUBTITLE}</p></div>')
        with gr.Row():
            with gr.Column(scale=4, min_width=320):
                fields = Fields(runs.models, model, runs.own_weights, runs.seconds)
            with gr.Column(scale=9, min_width=320), gr.Tabs():
                tabs = [kind() for kind in (Tab, SweepTab, TrajectoryTab, HoleTab)]
        for tab in tabs:
            _connect(tab, tab.run, runs.results, fields)
            if isinstance(tab, HoleTab):
                _connect(tab, tab.example, runs.picture, fields)
    # Not by a request that goes past the queue.
    return page.queue(max_size=LONGEST_QUEUE, default_concurrency_limit=1, api_open=False)


def _connect(
    tab: Tab, button: gr.Button, work: Callable[..., Iterator[Updates]], fields: Fields
) -> None:
    """Lets a button of a tab do its work for whoever presses it, and another stop it."""

    def begin(running: Stop | None) -> list[Any]:
        stop(running)
        waiting = progress_html(Progress('Waiting for your turn'))
        return [gr.update(interactive=False), gr.update(interactive=True), waiting, Stop()]

    def run(running: Stop, *values: Any) -> Iterator[Updates]:
        yield from work(tab, running, *values)

    def stop(running: Stop | None) -> Any:
        if running is not None:
            running.set()
        return gr.update(interactive=False)

    def settle() -> list[Any]:
        return [gr.update(interactive=True), gr.update(interactive=False)]

    buttons, to_pictures = [tab.run, tab.stop], TO_PICTURES.replace('PLACE', tab.place)
    asked = button.click(
        begin, tab.running, [*buttons, tab.view, tab.running], js=to_pictures, **QUICK
    )
    done = asked.then(
        run,
        [tab.running, *tab.own, *fields.all],
        tab.outputs,
        preprocess=False,
        show_progress='hidden',
        concurrency_id='device',
        concurrency_limit=AT_ONCE,
        api_visibility='private',
    )
    done.then(settle, None, buttons, **QUICK)
    if button is tab.run:
        tab.stop.click(stop, tab.running, tab.stop, **QUICK)
