"""The demo in the browser, as a call that needs gradio only when it is made."""

from __future__ import annotations

from typing import Any

from mmengine.logging import print_log

from mmagic_adm.compat.environment import require


def launch_demo(**options: Any) -> None:
    """Serves a page to sample on, until ctrl-C.

    Args:
        **options: See :func:`mmagic_adm.demo.start_server`: ``model``, ``host``, ``port``,
            ``device``, ``outputs``, ``keep_days``, ``keep_gigabytes``, ``allow_hosts``,
            ``own_weights``.

    Raises:
        ImportError: gradio is not installed.
    """
    demo = require('mmagic_adm.demo', 'the demo in the browser', 'mmagic-adm[demo]')
    server = demo.start_server(**options)
    print_log(f'The demo is at {server.address}; ctrl-C ends it.')
    server.wait()
