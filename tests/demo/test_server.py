"""What the server gives away, and to whom: asked over HTTP, as anybody could."""

import json
import os
import re
import threading
import time
from io import BytesIO
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from PIL import Image

pytest.importorskip('gradio', reason='the demo needs gradio')

import httpx

from mmagic_adm.demo import start_server
from mmagic_adm.demo.doorkeeper import LONGEST_BODY, LONGEST_PICTURE, names_served
from mmagic_adm.demo.entries import LONGEST_TEXT
from mmagic_adm.demo.hole import NUMBERS
from mmagic_adm.demo.server import listen
from tests.demo.orders import fields
from tests.reference import REPOSITORY

API = 'gradio_api'
PATIENCE = 60


@pytest.fixture(scope='module')
def outputs(tmp_path_factory):
    return tmp_path_factory.mktemp('outputs')


@pytest.fixture(scope='module')
def server(outputs):
    server = start_server(port=0, device='cpu', outputs=outputs, allow_hosts=['Demo.Example'])
    yield server
    server.close()


@pytest.fixture(scope='module')
def address(server):
    return server.address


@pytest.fixture(scope='module')
def ask(address):
    with httpx.Client(base_url=address, timeout=PATIENCE) as client:
        yield client.request


class Visitor:
    """Somebody with the page open, as gradio's page talks to its server.

    Args:
        ask: Sends a request.
        name: What their session is called.
        place: The tab that they have open.
    """

    def __init__(self, ask, name, place='samples'):
        self.ask, self.name = ask, name
        config = ask('GET', 'config').json()
        ids = {each['props'].get('elem_id'): each['id'] for each in config['components']}
        self.begin, self.stop = (
            next(
                each['id']
                for each in config['dependencies']
                if [ids[f'{place}-{button}'], 'click'] in each['targets']
            )
            for button in ('run', 'stop')
        )
        work = next(each for each in config['dependencies'] if each['trigger_after'] == self.begin)
        self.work, self.count = work['id'], len(work['inputs'])

    def press(self, button):
        body = dict(fn_index=button, session_hash=self.name, data=[None])
        answer = self.ask('POST', f'{API}/run/predict', json=body)
        assert answer.status_code == 200, answer.text

    def join(self, *first, **changes):
        data = [None, *first, *fields(**changes)]
        data += [None] * (self.count - len(data))  # numbers that the method has not
        body = dict(fn_index=self.work, session_hash=self.name, data=data)
        return self.ask('POST', f'{API}/queue/join', json=body).status_code

    def run(self, *first, **changes):
        """Presses the button; gives what the page says in the end."""
        self.press(self.begin)
        assert self.join(*first, **changes) == 200
        return self.wait()

    def wait(self):
        """What the page says when the run that was begun has ended."""
        answer = self.ask('GET', f'{API}/queue/data', params=dict(session_hash=self.name))
        said = [json.loads(line[5:]) for line in answer.text.splitlines() if line]
        shown = [each['output']['data'][0] for each in said if each['msg'] == 'process_generating']
        assert said[-1]['msg'] == 'close_stream'
        return json.dumps(shown)


@pytest.fixture
def ann(ask):
    return Visitor(ask, 'ann')


@pytest.fixture
def bob(ask):
    return Visitor(ask, 'bob')


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
def test_no_file_outside_its_outputs_is_served(ask, path):
    assert ask('GET', f'{API}/file={quote(str(path), safe="")}').status_code == 403


def test_its_outputs_are_served(ask, outputs):
    (outputs / 'a.txt').write_text('a')
    assert ask('GET', f'{API}/file={outputs / "a.txt"}').status_code == 200
    beside = outputs.parent / 'beside.txt'
    beside.write_text('b')
    assert ask('GET', f'{API}/file={beside}').status_code == 403
    assert ask('GET', f'{API}/file={outputs}/..%2fbeside.txt').status_code == 403


@pytest.mark.parametrize('path', ['component_server', 'run-history/connect'])
def test_nothing_goes_past_the_queue_but_a_picture(ask, path):
    assert ask('POST', f'{API}/{path}').status_code == 403


def send(ask, content):
    return ask('POST', f'{API}/upload', files=dict(files=('a.png', content, 'image/png')))


def test_a_picture_is_kept_with_the_outputs_and_a_huge_one_refused(ask, outputs):
    (path,) = send(ask, b'any').json()
    assert Path(path).is_relative_to(outputs / 'cache')
    assert send(ask, b' ' * LONGEST_PICTURE).status_code == 413


def png(*size):
    file = BytesIO()
    Image.new('L', size).save(file, 'PNG')
    return file.getvalue()


def editor(path):
    file = dict(path=str(path), meta=dict(_type='gradio.FileData'))
    return [dict(background=file, layers=[], composite=None), 1, 'ddnm', *[None] * NUMBERS]


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'no picture', 'the picture is no readable image'),
        (png(8192, 4097), 'pixels, of up to 33,554,432: shrink it'),
        (png(8, 8), 'nothing is painted over'),
    ],
)
def test_what_is_painted_on_is_a_picture(ask, content, said):
    ann = Visitor(ask, 'ann', 'hole')
    assert said in ann.run(*editor(send(ask, content).json()[0])).lower()


@pytest.mark.parametrize('field', ['editor', 'any'])
def test_only_what_was_sent_is_painted_on(ask, outputs, field):
    secret = outputs.parent / 'secret.png'
    secret.write_bytes(png(8, 9))
    if field == 'editor':
        said = Visitor(ask, 'ann', 'hole').run(*editor(secret))
    else:
        said = Visitor(ask, 'ann').run(interval=editor(secret)[0])
    assert said == '[]'
    assert not list(outputs.rglob('secret.png'))


def test_the_browser_is_told_to_ask_nobody_else(ask):
    page = ask('GET', '')
    assert "default-src 'self'" in page.headers['content-security-policy']
    assert 'googleapis' not in page.text


# A page, its settings, files, the queue and its stream of events, and what is asked before a POST.
ROUTES = [
    ('GET', ''),
    ('GET', 'config'),
    ('GET', f'{API}/file=README.md'),
    ('GET', f'{API}/queue/data?session_hash=ann'),
    ('GET', f'{API}/heartbeat/ann'),
    ('POST', f'{API}/queue/join'),
    ('POST', f'{API}/run/predict'),
    ('OPTIONS', f'{API}/queue/join'),
]


@pytest.mark.parametrize(
    'headers',
    [
        {'host': 'evil.example'},
        {'host': 'evil.example', 'origin': 'http://evil.example'},
        {'host': 'localhost.evil.example:7860'},
        {'host': '127.0.0.1@evil.example'},
        {'host': '[evil'},
        {'host': ''},
        {'host': 'localhost', 'x-forwarded-host': 'evil.example'},
        {'host': 'localhost', 'origin': 'http://evil.example'},
        {'host': 'localhost', 'origin': 'http://localhost:3000'},
        {'host': 'demo.example', 'origin': 'https://evil.example'},
        {'host': 'localhost', 'origin': 'null'},
    ],
)
def test_pages_of_others_get_nothing_from_it(ask, headers):
    headers = {'access-control-request-method': 'POST', **headers}
    for method, path in ROUTES:
        answer = ask(method, path, headers=headers)
        assert answer.status_code == 403, path
        assert not any('access-control' in name for name in answer.headers), path


@pytest.mark.parametrize(
    'host', ['localhost', '127.0.0.1:7860', '[::1]:80', 'demo.example', 'LOCALHOST']
)
def test_it_answers_to_the_names_it_was_started_for(ask, host):
    assert ask('GET', 'config', headers={'host': host}).status_code == 200
    headers = {'host': host, 'origin': f'https://{host}'}
    assert ask('GET', 'config', headers=headers).status_code == 200


def test_a_websocket_is_not_opened(ask):
    upgrade = {
        'connection': 'upgrade',
        'upgrade': 'websocket',
        'sec-websocket-version': '13',
        'sec-websocket-key': 'MDEyMzQ1Njc4OWFiY2RlZg==',
    }
    assert ask('GET', f'{API}/queue/join', headers=upgrade).status_code in (403, 404, 405)


def test_a_page_for_other_machines_is_told_its_names():
    with pytest.raises(ValueError, match=r'--allow-host NAME'):
        names_served('0.0.0.0', [])
    assert {'box', 'localhost'} < names_served('0.0.0.0', ['box'])
    assert 'box.lan' in names_served('Box.lan', [])


@pytest.mark.parametrize(
    'body',
    [dict(content=b' ' * (LONGEST_BODY + 1)), dict(content=iter([b'{', b'}']))],
    ids=['long', 'of unknown length'],
)
def test_a_request_has_a_length(ask, body):
    assert ask('POST', f'{API}/queue/join', **body).status_code == 413


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(interval='1' * 600 + '-'), f'the interval is a text of up to {LONGEST_TEXT}'),
        (dict(interval='1' * LONGEST_TEXT), 'The interval is two timesteps'),
        (dict(interval=' ' * LONGEST_TEXT), 'images in'),
        (dict(interval=['500', '1000']), 'the interval is a text'),
        (dict(scheduler='x' * 9999), 'the scheduler is a text'),
        (dict(method={}), 'the guidance is a text'),
        (dict(scale='9' * 9999), 'scale is a number'),
        (dict(seed=10**400), 'the first seed is a whole number'),
        (dict(steps=[[[]]]), 'the number of steps is a whole number'),
        (dict(classes='3'), 'choose at least one class'),
        (dict(classes=[3] * 9999), 'up to 100 images'),
        (dict(model='../../../etc/passwd'), 'no such model'),
        (dict(model=[]), 'no such model'),
    ],
)
def test_a_field_is_read_at_once_or_refused(ann, changes, message):
    begun = time.monotonic()
    said = ann.run(**changes)
    assert message.lower() in said.lower()
    assert 'Traceback' not in said
    assert time.monotonic() - begun < 20


def test_nobody_goes_past_the_queue(ask, ann):
    body = dict(fn_index=ann.work, session_hash='ann', data=[None, *fields()])
    assert ask('POST', f'{API}/run/predict', json=body).status_code == 404


LONG = dict(per_class=50, steps=1000)


def test_a_long_run_does_not_keep_others_waiting(ann, bob):
    ann.press(ann.begin)
    assert ann.join(**LONG) == 200
    assert '2 images in' in bob.run()
    ann.press(ann.stop)
    assert 'Stopped' in ann.wait()


def test_a_download_that_is_stuck_does_not_keep_others_waiting(server, ann, bob, monkeypatch):
    stuck, fetch = threading.Event(), server.runs.shelf.fetch_weights

    def fetch_slowly(order):
        return fetch(order) if order.seed != 666 else stuck.wait(PATIENCE)

    monkeypatch.setattr(server.runs.shelf, 'fetch_weights', fetch_slowly)
    ann.press(ann.begin)
    assert ann.join(seed=666) == 200
    assert '2 images in' in bob.run()
    ann.press(ann.stop)
    assert 'Stopped' in ann.wait()
    stuck.set()


def test_old_runs_make_room_and_nothing_else_does(ann, outputs):
    assert 'images in' in ann.run()
    first = next(outputs.glob('*/settings.json')).parent
    notes, cached = outputs / '2020-01-01_my_notes', outputs / 'cache' / 'old'
    notes.mkdir()
    cached.mkdir()
    for path in (first, notes, cached):
        os.utime(path, (0, 0))
    assert 'images in' in ann.run()
    assert notes.exists()
    assert not first.exists()
    assert not cached.exists()
    assert list(outputs.glob('*/settings.json'))


@pytest.mark.parametrize(
    ('host', 'port', 'message'),
    [
        ('999.1.1.1', None, r'--host 999\.1\.1\.1 cannot be listened on'),
        ('192.0.2.1', None, r'--host 192\.0\.2\.1 cannot be listened on'),
        ('127.0.0.1', 99999, '--port 99999 cannot be listened on .* port must be 0-65535'),
    ],
)
def test_an_address_that_cannot_be_served_at_is_named(host, port, message):
    with pytest.raises(OSError, match=message):
        listen(host, port)


def test_a_port_that_is_taken_is_named(address):
    port = urlsplit(address).port
    with pytest.raises(OSError, match=f'port {port} is taken'):
        listen('127.0.0.1', port)


@pytest.mark.parametrize('more', [dict(host='0.0.0.0'), dict()])
def test_weights_of_ones_own_are_for_this_machine_alone(tmp_path, more):
    with pytest.raises(ValueError, match=r'--own-weights .* for this machine alone'):
        start_server(outputs=tmp_path, allow_hosts=['box'], own_weights=True, **more)


def test_an_unknown_model_is_refused_before_anything_is_served(tmp_path):
    with pytest.raises(ValueError, match="there is no config called 'adm-x'"):
        start_server('adm-x', outputs=tmp_path / 'outputs')
    assert not (tmp_path / 'outputs').exists()


def test_gradio_is_imported_nowhere_else():
    package = REPOSITORY / 'mmagic_adm'
    files = [file for file in package.rglob('*.py') if 'demo' not in file.parts]
    assert package / 'apis' / 'launch.py' in files
    importing = r'^\s*(import|from) (gradio|mmagic_adm\.demo)'
    assert [file for file in files if re.search(importing, file.read_text(), re.M)] == []
