"""The demo in the browser, as a call that needs gradio only when it is made."""

from __future__ import annotations

from pathlib import Path

from mmagic_adm.compat.environment import require


def launch_demo(
    model: str = 'adm-g_ddim25_digits-16x16',
    host: str = '127.0.0.1',
    port: int | None = None,
    device: str | None = None,
    outputs: str | Path = 'outputs/demo-web',
) -> None:
    """Serves a page to sample on, until ctrl-C.

    Args:
        model: The model that is chosen at first: a config's name, or its path.
        host: The address to listen on.
        port: The port; None takes the first free one from 7860 on.
        device: Where models run; None takes a GPU if there is one.
        outputs: The folder that each run gets a folder in, and that nothing else is served from.

    Raises:
        ImportError: gradio is not installed.
    """
    demo = require('mmagic_adm.apis.demo', 'the demo in the browser', 'mmagic-adm[demo]')
    demo.launch_demo(model, host, port, device, outputs)
