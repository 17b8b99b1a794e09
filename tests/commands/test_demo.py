"""``mmagic-adm demo``, as it is called from a shell."""

import os
import signal
import subprocess
import sys
import urllib.request

import pytest

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.commands import parser_of
from tests.commands.running import fail


def test_it_offers_no_tunnel():
    assert '--share' not in parser_of('demo').format_help()


def test_it_is_for_this_machine_alone_unless_told_otherwise():
    assert parser_of('demo').parse_args([]).host == '127.0.0.1'


def test_an_unknown_model_is_one_line():
    line = fail('demo', '--model', 'adm-g_ddim25_digit')
    assert 'did you mean adm-g_ddim25_digits-16x16' in line


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--host', '999.1.1.1'], '--host 999.1.1.1 cannot be listened on'),
        (['--host', '0.0.0.0'], '--allow-host NAME'),
        (['--port', '99999'], '--port 99999 cannot be listened on (bind(): port must be 0-65535.)'),
        (['--keep-days', '0'], 'keep_days'),
    ],
)
def test_what_cannot_be_served_is_one_line(options, message, tmp_path):
    assert message in fail('demo', *options, '--outputs', tmp_path / 'outputs')
    assert not (tmp_path / 'outputs').exists()


@pytest.mark.slow
def test_it_prints_its_address_and_serves_until_it_is_interrupted(tmp_path):
    demo = subprocess.Popen(
        [sys.executable, '-m', 'mmagic_adm', 'demo', '--device', 'cpu', '--outputs', str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'PYTHONUNBUFFERED': '1'},
    )
    try:
        address = demo.stdout.readline().strip()
        with urllib.request.urlopen(address) as response:
            assert response.status == 200
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 130
        assert 'Traceback' not in demo.stderr.read()
    finally:
        demo.kill()
