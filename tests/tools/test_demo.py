"""tools/demo.py, as it is called from a shell."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.apis.command_line import run_tool
from tests.apis.demo.orders import load_tool
from tests.reference import REPOSITORY

TOOL = REPOSITORY / 'tools' / 'demo.py'


@pytest.fixture(scope='module')
def tool():
    return load_tool('demo')


def test_help_has_an_example_and_offers_no_tunnel(tool):
    text = tool.parse().format_help()
    assert 'python tools/demo.py --model' in text
    assert '--share' not in text


def test_it_is_for_this_machine_alone_unless_told_otherwise(tool):
    assert tool.parse().parse_args([]).host == '127.0.0.1'


def test_an_unknown_model_is_one_line(tool, capsys):
    assert run_tool(tool.parse(), tool.main, ['--model', 'adm-g_ddim25_digit']) == 1
    said = capsys.readouterr().err
    assert said.count('\n') == 1
    assert 'did you mean adm-g_ddim25_digits-16x16' in said


@pytest.mark.slow
def test_it_prints_its_address_and_serves_until_it_is_interrupted(tmp_path):
    tool = subprocess.Popen(
        [sys.executable, TOOL, '--device', 'cpu', '--outputs', str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONUNBUFFERED': '1'},
    )
    try:
        address = tool.stdout.readline().strip()
        with urllib.request.urlopen(address) as response:
            assert response.status == 200
        tool.send_signal(signal.SIGINT)
        assert tool.wait(20) == 130
        assert 'Traceback' not in tool.stderr.read()
    finally:
        tool.kill()
