"""The server of the demo."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import gradio as gr
import uvicorn
from fastapi import FastAPI

from mmagic_adm.demo.catalogue import BUNDLED_MODEL, facts_of, offered_models
from mmagic_adm.demo.doorkeeper import EVERY_ADDRESS, LOOPBACK, Doorkeeper, names_served
from mmagic_adm.demo.look import CSS, theme
from mmagic_adm.demo.outputs import Outputs
from mmagic_adm.demo.page import build_page
from mmagic_adm.demo.runs import Runs
from mmagic_adm.demo.shelf import Shelf

PORTS = range(7860, 7960)

# Seconds that a step has to end in, and answers that are being given.
LAST_STEP, LAST_ANSWER = 10, 1


class Server(NamedTuple):
    """A server that is running.

    Attributes:
        address: Where the page is.
        runs: What the page's buttons do.
        page: What it serves.
        http: What serves it.
        thread: Where that does so.
    """

    address: str
    runs: Runs
    page: gr.Blocks
    http: uvicorn.Server
    thread: threading.Thread

    def wait(self) -> None:
        """Waits for ctrl-C, and ends the server."""
        try:
            threading.Event().wait()
        finally:
            self.close()

    def close(self) -> None:
        """Ends the server, and what it is at."""
        for stop in list(self.runs.running):
            stop.set()
        self.page.close(verbose=False)
        self.http.should_exit = True
        self.thread.join(LAST_STEP)
        # Who samples holds it until their step is taken; leaving them at it would be a crash. It is
        # kept, so that nobody who still waits begins.
        self.runs.shelf.turn.acquire(timeout=LAST_STEP)


def start_server(
    model: str = BUNDLED_MODEL,
    host: str = LOOPBACK[0],
    port: int | None = None,
    device: str | None = None,
    outputs: str | Path = 'outputs/demo-web',
    keep_days: float = 7,
    keep_gigabytes: float = 5,
    allow_hosts: Sequence[str] = (),
    own_weights: bool = False,
) -> Server:
    """Serves the demo from a thread, and returns.

    Args:
        model: The model that is chosen at first: a config's name, or its path.
        host: The address to listen on.
        port: The port; None takes the first free one from 7860 on.
        device: Where models run; None takes a GPU if there is one.
        outputs: The folder that each run gets a folder in, and that nothing else is served from.
        keep_days: Days after which a run's folder is removed.
        keep_gigabytes: As much as all of them may take; the oldest make room.
        allow_hosts: Names and addresses that others call this machine by, besides ``host``;
            requests for any other are refused. Needed where ``host`` is '0.0.0.0'.
        own_weights: Whether weights of one's own may be named on the page, by path or URL: it reads
            files and asks servers as whoever started it, so it is for this machine alone. Nothing
            in such a file is run, and a config, which would be, is taken from no one.

    Raises:
        ValueError: The model does not exist, or does not sample from nothing; or it is not said
            under which names a page for other machines is served; or those could name weights.
        OSError: The address cannot be listened on, or the port is taken.
    """
    facts_of(model)
    names = names_served(host, allow_hosts)
    if own_weights and (host not in LOOPBACK or allow_hosts):
        raise ValueError(
            '--own-weights lets whoever sees the page read weights as you, so it is for this '
            'machine alone: leave out --host and --allow-host'
        )
    kept = Outputs(Path(outputs), keep_days, keep_gigabytes)
    listener = listen(host, port)
    kept.cache.mkdir(parents=True, exist_ok=True)
    # Where gradio copies what it shows. All that is in there is served, so it must be ours alone.
    os.environ['GRADIO_TEMP_DIR'] = str(kept.cache.resolve())
    kept.prune()
    models = list(dict.fromkeys([*offered_models(), model]))
    runs = Runs(Shelf(device), kept, models, device, own_weights)
    page = build_page(runs, model)
    app = gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        page,
        path='/',
        allowed_paths=[str(kept.folder.resolve())],
        show_error=False,
        enable_monitoring=False,
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        footer_links=[],
        theme=theme(),
        css=CSS,
    )
    # Otherwise gradio takes any file of this machine for one that was sent, and serves a copy.
    page.has_launched = True
    # Around all of gradio, which would answer some requests before anyone behind it is asked.
    answers = Doorkeeper(app, names)
    http = uvicorn.Server(
        uvicorn.Config(answers, log_level='warning', timeout_graceful_shutdown=LAST_ANSWER)
    )
    thread = threading.Thread(target=http.run, kwargs=dict(sockets=[listener]), daemon=True)
    thread.start()
    return Server(_address(listener, host), runs, page, http, thread)


def listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens on an address.

    Raises:
        OSError: The address is none of this machine's, or no port is free; the message says so.
    """
    family = socket.AF_INET6 if ':' in host else socket.AF_INET
    for each in PORTS if port is None else [port]:
        try:
            return socket.create_server((host, each), family=family)
        except (OSError, OverflowError, UnicodeError) as error:
            if getattr(error, 'errno', None) != errno.EADDRINUSE:
                asked = f'--host {host}' if port is None else f'--host {host} --port {port}'
                raise OSError(
                    f'{asked} cannot be listened on ({error}); 127.0.0.1 is for this machine '
                    'alone, 0.0.0.0 for all others too'
                ) from error
    taken = f'ports {PORTS[0]} to {PORTS[-1]} are' if port is None else f'port {port} is'
    raise OSError(f'{taken} taken; choose another: --port')


def _address(listener: socket.socket, host: str) -> str:
    """What to open in a browser on this machine."""
    shown = 'localhost' if host in EVERY_ADDRESS else host
    shown = f'[{shown}]' if ':' in shown else shown
    return f'http://{shown}:{listener.getsockname()[1]}/'
