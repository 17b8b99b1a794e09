"""The page: the fields on the left, and what can be done with them in tabs on the right."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from mmagic_adm.demo.catalogue import facts_of
from mmagic_adm.demo.controls import Controls
from mmagic_adm.demo.hole import HolePane
from mmagic_adm.demo.order import LONGEST_TEXT
from mmagic_adm.demo.pane import Pane, Updates
from mmagic_adm.demo.runs import Runs

TITLE = 'mmagic-adm'
SUBTITLE = 'Class-conditional pixel diffusion, guided'
SCALES = '0, 0.5, 1, 2, 4, 8'

# Steps that a trajectory shows where nobody says otherwise, about.
FRAMES = 9
UNKNOWN_STEPS = 250

# How many may wait for the device.
LONGEST_QUEUE = 20

Work = Callable[..., Iterator[Updates]]


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
                controls = Controls(list(runs.models), model)
            with gr.Column(scale=9, min_width=480), gr.Tabs():
                with gr.Tab('Samples', id='samples'):
                    samples = Pane('samples', 'Sample', 'Images appear here as they are made.')
                with gr.Tab('Guidance sweep', id='sweep'):
                    scales = gr.Textbox(
                        SCALES,
                        label='Scales',
                        info='One image of each class at every scale, from the same seed.',
                        max_lines=1,
                        max_length=LONGEST_TEXT,
                        elem_id='sweep-scales',
                    )
                    sweep = Pane('sweep', 'Sweep', 'A row for each class, from weak to strong.')
                with gr.Tab('Trajectory', id='trajectory'):
                    every = gr.Number(
                        usual_every(model),
                        label='Keep every k-th step',
                        info='The way of one image, of the first class and the first seed.',
                        elem_id='trajectory-every',
                    )
                    trajectory = Pane(
                        'trajectory', 'Show', 'What the network sees, and what it believes in.'
                    )
                with gr.Tab('Fill a hole', id='hole'):
                    hole = HolePane('hole')
        controls.model.input(
            usual_every,
            controls.model,
            every,
            queue=False,
            show_progress='hidden',
            api_visibility='private',
        )
        fields = controls.fields
        _connect(runs, samples, {samples.run: runs.samples}, fields)
        _connect(runs, sweep, {sweep.run: runs.sweep}, [scales, *fields])
        _connect(runs, trajectory, {trajectory.run: runs.trajectory}, [every, *fields])
        works = {hole.run: runs.hole, hole.example: runs.picture}
        _connect(runs, hole, works, [*hole.fields, *fields])

        def leave(request: gr.Request) -> None:
            runs.visitors.leave(str(request.session_hash))

        page.unload(leave)
    # Not by a request that goes past the queue.
    return page.queue(max_size=LONGEST_QUEUE, default_concurrency_limit=1, api_open=False)


def usual_every(model: str) -> int:
    """Every how many steps a trajectory shows of a model, where nobody says otherwise."""
    steps = facts_of(model).steps
    return math.ceil((steps if isinstance(steps, int) else UNKNOWN_STEPS) / FRAMES)


def _connect(
    runs: Runs, pane: Pane, works: Mapping[gr.Button, Work], inputs: Sequence[Any]
) -> None:
    """Lets the buttons of a tab do their work for whoever presses them."""
    visitors = runs.visitors

    def begin(request: gr.Request) -> list[Any]:
        visitors.begin(str(request.session_hash), pane.place)
        return pane.waiting()

    def running(work: Work) -> Work:
        def run(request: gr.Request, *fields: Any) -> Iterator[Updates]:
            yield from work(pane, str(request.session_hash), *fields)

        return run

    def stop(request: gr.Request) -> Any:
        visitors.stop(str(request.session_hash), pane.place)
        return gr.update(interactive=False)

    pane.on_run(begin, {button: running(work) for button, work in works.items()}, stop, inputs)
