"""Serves a page to sample on: choose classes and guidance, and watch images come about."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from mmagic_adm.compat.environment import require

EXAMPLES = """\
  mmagic-adm demo
  mmagic-adm demo --model adm-g_ddim25_8xb32_imagenet-64x64 --port 8000 --device cuda:0

The first starts with a small model that ships with the package, prints the address to open in a
browser, and serves until ctrl-C. Each run's images are in a folder of their own in
outputs/demo-web, which is removed after a week; nothing outside that is served. The page is for
this machine alone; with --host 0.0.0.0 --allow-host box.lan it is for all who call it box.lan.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments."""
    parser.add_argument(
        '--model',
        default='edm-g_heun18_emoji-32x32',
        help='the model chosen at first: name of a config, or path (default: %(default)s)',
    )
    parser.add_argument(
        '--host', default='127.0.0.1', help='address to listen on (default: %(default)s)'
    )
    parser.add_argument(
        '--allow-host',
        metavar='NAME',
        action='append',
        default=[],
        help='name or address that others call this machine by; may be repeated',
    )
    parser.add_argument(
        '--own-weights',
        action='store_true',
        help='let weights be named on the page by path or URL; for this machine alone',
    )
    parser.add_argument('--port', type=int, help='default: the first free one from 7860 on')
    parser.add_argument('--device', help='default: a GPU if there is one')
    parser.add_argument(
        '--outputs',
        metavar='FOLDER',
        default='outputs/demo-web',
        help='where images are written (default: %(default)s)',
    )
    parser.add_argument(
        '--keep-days',
        type=float,
        default=7,
        help='days after which images are removed; inf keeps them (default: %(default)s)',
    )
    parser.add_argument(
        '--keep-gigabytes',
        type=float,
        default=5,
        help='as much as images may take; the oldest make room (default: %(default)s)',
    )


def main(arguments: argparse.Namespace) -> Iterator[str]:
    """Serves; gives the address."""
    demo = require('mmagic_adm.demo', 'the demo in the browser', 'mmagic-adm[demo]')
    server = demo.start_server(
        arguments.model,
        arguments.host,
        arguments.port,
        arguments.device,
        arguments.outputs,
        arguments.keep_days,
        arguments.keep_gigabytes,
        arguments.allow_host,
        arguments.own_weights,
    )
    yield server.address
    try:
        server.wait()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f'stopped; images are in {arguments.outputs}') from None
