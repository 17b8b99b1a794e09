"""The demo in the browser. It needs gradio, which nothing outside this folder imports."""

import os

# Read when gradio is imported: it is to tell nobody that it was.
os.environ['GRADIO_ANALYTICS_ENABLED'] = 'False'

from mmagic_adm.demo.server import Server, start_server

__all__ = ['Server', 'start_server']
