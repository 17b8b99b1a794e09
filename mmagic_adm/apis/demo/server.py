"""The server of the demo, and what it lets out."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from mmengine.logging import print_log
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mmagic_adm.apis.demo.catalogue import BUNDLED_MODEL, facts_of, sampling_models
from mmagic_adm.apis.demo.look import CSS, theme
from mmagic_adm.apis.demo.page import build_page
from mmagic_adm.apis.demo.runs import Runs
from mmagic_adm.apis.demo.shelf import Shelf

LOOPBACK = '127.0.0.1'
OUTPUTS = 'outputs/demo-web'

# Seconds that a step is given to end in.
LAST_STEP = 10

# The browser is to ask nobody else for anything.
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; "
    "frame-ancestors 'self'; form-action 'self'; base-uri 'self'"
)

# What gradio serves besides the page, and nothing here needs: files that are sent to it, pages of
# other servers, the history of runs.
API = '/gradio_api'
CLOSED = (
    '/upload',
    '/process_recording',
    '/proxy=',
    '/file=http:',
    '/file=https:',
    '/file/http:',
    '/file/https:',
    '/run-history',
)


class Server(NamedTuple):
    """A server that is running.

    Attributes:
        page: What it serves.
        runs: What the page's buttons do.
    """

    page: gr.Blocks
    runs: Runs

    @property
    def address(self) -> str:
        """Where the page is."""
        return str(self.page.local_url)

    def wait(self) -> None:
        """Waits for ctrl-C, and ends the server."""
        try:
            threading.Event().wait()
        finally:
            self.close()

    def close(self) -> None:
        """Ends the server, and what it is at."""
        self.runs.visitors.leave_all()
        self.page.close(verbose=False)
        # Who samples holds it until their step is taken; leaving them at it would be a crash.
        if self.runs.shelf.turn.acquire(timeout=LAST_STEP):
            self.runs.shelf.turn.release()


def start_server(
    model: str = BUNDLED_MODEL,
    host: str = LOOPBACK,
    port: int | None = None,
    device: str | None = None,
    outputs: str | Path = OUTPUTS,
) -> Server:
    """Serves the demo from a thread, and returns.

    Args:
        model: The model that is chosen at first: a config's name, or its path.
        host: The address to listen on.
        port: The port; None takes the first free one from 7860 on.
        device: Where models run; None takes a GPU if there is one.
        outputs: The folder that each run gets a folder in, and that nothing else is served from.

    Returns:
        The server.

    Raises:
        ValueError: The model does not exist, or does not sample from nothing.
        OSError: The port is taken.
    """
    facts_of(model)
    folder = Path(outputs)
    cache = folder / 'cache'
    cache.mkdir(parents=True, exist_ok=True)
    # Where gradio copies what it shows. All that is in there is served, so it must be ours alone.
    os.environ['GRADIO_TEMP_DIR'] = str(cache.resolve())
    models = list(dict.fromkeys([*sampling_models(), model]))
    runs = Runs(Shelf(device), folder, models, device)
    page = build_page(runs, model)
    page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        inbrowser=False,
        allowed_paths=[str(folder.resolve())],
        app_kwargs=dict(middleware=[Middleware(Doorkeeper)]),
        enable_monitoring=False,
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        footer_links=[],
        theme=theme(),
        css=CSS,
    )
    return Server(page, runs)


def launch_demo(
    model: str = BUNDLED_MODEL,
    host: str = LOOPBACK,
    port: int | None = None,
    device: str | None = None,
    outputs: str | Path = OUTPUTS,
) -> None:
    """Serves the demo until ctrl-C; arguments as in :func:`start_server`."""
    server = start_server(model, host, port, device, outputs)
    print_log(f'The demo is at {server.address}; ctrl-C ends it.')
    server.wait()


class Doorkeeper:
    """Keeps the page to this server, and this server to the page.

    Args:
        app: What answers the requests that come through.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope['type'] == 'http' and _is_closed(scope['path']):
            response = PlainTextResponse('not served here', status_code=403)
            await response(scope, receive, send)
            return

        async def send_with_policy(message: Message) -> None:
            if message['type'] == 'http.response.start':
                headers: list[Any] = message.setdefault('headers', [])
                headers.append((b'content-security-policy', POLICY.encode()))
            await send(message)

        await self.app(scope, receive, send_with_policy)


def _is_closed(path: str) -> bool:
    return path.removeprefix(API).startswith(CLOSED)
