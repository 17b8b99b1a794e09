"""Who is let in to the page, and what is let out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# How a browser on this machine calls it. No page of somebody else's can have these names.
LOOPBACK = ('127.0.0.1', 'localhost', '::1')
EVERY_ADDRESS = ('0.0.0.0', '::')  # noqa: S104

# What all fields of the page hold is shorter, by far; and a picture that is sent to it.
LONGEST_BODY, LONGEST_PICTURE = 64 << 10, 16 << 20

# The browser is to ask nobody else for anything.
POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; "
    "frame-ancestors 'self'; form-action 'self'; base-uri 'self'"
)

# Where pictures are sent to be painted on.
API = '/gradio_api'
UPLOAD = f'{API}/upload'

# What gradio serves besides the page, and nothing here needs: what components take past the queue,
# pages of other servers, the history of runs.
CLOSED = (
    '/component_server',
    '/process_recording',
    '/upload_progress',
    '/proxy=',
    '/file=http:',
    '/file=https:',
    '/file/http:',
    '/file/https:',
    '/run-history',
)


def names_served(host: str, given: Sequence[str]) -> frozenset[str]:
    """The names under which a page is served.

    Args:
        host: The address that it listens on.
        given: Other names and addresses of this machine.

    Raises:
        ValueError: It listens on every address, and nobody said what those are called.
    """
    names = [*LOOPBACK, *given]
    if host not in EVERY_ADDRESS:
        names.append(host)
    elif not given:
        raise ValueError(
            f'--host {host} serves other machines: say by which names or addresses they call this '
            'one, --allow-host NAME for each'
        )
    return frozenset(name.lower() for name in names)


class Doorkeeper:
    """Keeps the page to this server, and this server to the page.

    A page of somebody else's that is open in the same browser could ask this server for whatever
    it likes: by having its own name point here (DNS rebinding), or straight away. The browser says
    which name was asked for, and which page asks.

    Args:
        app: What answers the requests that come through.
        names: Those that it is asked by, see :func:`names_served`.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self.app = app
        self.names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope['type'] == 'websocket':  # the page opens none
            return await send({'type': 'websocket.close', 'code': 1008})
        if scope['type'] == 'http' and (refusal := self._refusal(scope)):
            why, code = refusal
            return await PlainTextResponse(why, code)(scope, receive, send)

        async def send_with_policy(message: Message) -> None:
            if message['type'] == 'http.response.start':
                headers: list[Any] = message.setdefault('headers', [])
                headers.append((b'content-security-policy', POLICY.encode()))
            await send(message)

        await self.app(scope, receive, send_with_policy)

    def _refusal(self, scope: Scope) -> tuple[str, int] | None:
        """Why a request is not let in, and the status that says so."""
        headers = Headers(scope=scope)
        asked = headers.getlist('host') + headers.getlist('x-forwarded-host')
        if not asked or any(_name(place) not in self.names for place in asked):
            return 'not served under this name: --allow-host adds one', 403
        if any(origin.partition('://')[2] not in asked for origin in headers.getlist('origin')):
            return 'not served to the pages of others', 403
        if scope['path'].removeprefix(API).startswith(CLOSED):
            return 'not served here', 403
        # Without a length a body may have any.
        length = headers.get('content-length', '0')
        longest = LONGEST_PICTURE if scope['path'] == UPLOAD else LONGEST_BODY
        if 'transfer-encoding' in headers or int(length) > longest:
            return f'a request has up to {longest} bytes, and says how many', 413
        return None


def _name(place: str) -> str | None:
    """The name in 'name', 'name:80' or '[::1]:80'."""
    try:
        return urlsplit(f'//{place}').hostname
    except ValueError:
        return None
