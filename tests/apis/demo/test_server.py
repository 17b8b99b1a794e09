"""What the server gives away, and to whom."""

import re
import urllib.error
import urllib.request

import pytest

pytest.importorskip('gradio', reason='the demo needs gradio')

from mmagic_adm.apis.demo import start_server
from tests.reference import REPOSITORY


@pytest.fixture(scope='module')
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp('outputs')


@pytest.fixture(scope='module')
def address(outputs):
    server = start_server(device='cpu', outputs=outputs)
    yield server.address
    server.close()


def status(address, path, method='GET'):
    request = urllib.request.Request(address + path, method=method)
    try:
        with urllib.request.urlopen(request) as response:
            return response.status
    except urllib.error.HTTPError as error:
        return error.code


def test_it_listens_on_this_machine_alone(address):
    assert address.startswith('http://127.0.0.1:')


@pytest.mark.parametrize(
    'path',
    [
        '/etc/passwd',
        '../../../../etc/passwd',
        'README.md',
        REPOSITORY / 'README.md',
        REPOSITORY / 'mmagic_adm' / 'bundled' / 'digits-16x16_unet.safetensors',
        'http://example.com/',
        'https://example.com/',
    ],
)
def test_no_file_outside_its_outputs_is_served(address, path):
    assert status(address, f'gradio_api/file={path}') == 403


def test_its_outputs_are_served(address, outputs):
    (outputs / 'a.txt').write_text('a')
    assert status(address, f'gradio_api/file={outputs / "a.txt"}') == 200
    beside = outputs.parent / 'beside.txt'
    beside.write_text('b')
    assert status(address, f'gradio_api/file={beside}') == 403
    assert status(address, f'gradio_api/file={outputs}/../beside.txt') == 403


@pytest.mark.parametrize('path', ['gradio_api/upload', 'gradio_api/run-history/connect'])
def test_nothing_can_be_sent_to_it(address, path):
    assert status(address, path, 'POST') == 403


def test_the_browser_is_told_to_ask_nobody_else(address):
    with urllib.request.urlopen(address) as response:
        policy = response.headers['content-security-policy']
        text = response.read().decode()
    assert "default-src 'self'" in policy
    assert 'googleapis' not in text


def test_an_unknown_model_is_refused_before_anything_is_served(tmp_path):
    with pytest.raises(ValueError, match="there is no config called 'adm-x'"):
        start_server('adm-x', outputs=tmp_path / 'outputs')
    assert not (tmp_path / 'outputs').exists()


def test_gradio_is_imported_nowhere_else():
    package = REPOSITORY / 'mmagic_adm'
    files = [file for file in package.rglob('*.py') if 'demo' not in file.parts]
    assert package / 'apis' / 'launch.py' in files
    importing = r'^\s*(import|from) (gradio|mmagic_adm\.apis\.demo)'
    assert [file for file in files if re.search(importing, file.read_text(), re.M)] == []
