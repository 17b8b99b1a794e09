"""The page as a person sees it, in headless Chromium."""

import shutil
import time
import zipfile

import numpy as np
import pytest

pytest.importorskip('gradio', reason='the demo needs gradio')
pytest.importorskip('playwright', reason='driving a browser needs playwright')

from playwright.sync_api import expect, sync_playwright

from mmagic_adm.apis import init_model, sample
from mmagic_adm.demo import start_server
from mmagic_adm.files.whole import CheckpointError
from tests.demo.orders import DIGITS

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
SIZE = dict(width=1280, height=900)
# A machine that others use as well takes its time.
PATIENCE = 120_000
TABS = dict(samples='Samples', sweep='Sweep', trajectory='Trajectory', hole='Fill')

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason='there is no Chromium on this machine')


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    server = start_server(DIGITS, device='cpu', outputs=tmp_path_factory.mktemp('outputs'))
    yield server
    server.close()


@pytest.fixture
def address(server):
    return server.address


@pytest.fixture
def device(server):
    """Locked while somebody samples."""
    return server.runs.shelf.turn


@pytest.fixture(scope='module')
def browser():
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Opens the page as another visitor each time."""
    contexts = []

    def open_page(size=SIZE):
        context = browser.new_context(viewport=size, accept_downloads=True)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()
        page.errors, page.asked = [], set()
        page.on('pageerror', lambda error: page.errors.append(str(error)))
        page.on('request', lambda request: page.asked.add(request.url))
        page.goto(address)
        page.wait_for_selector('#samples-run')
        return page

    yield open_page
    for context in contexts:
        context.close()


def choose(page, field, *options):
    """Chooses options of a drop-down list by what they say."""
    box = page.locator(f'#{field} input')
    for option in options:
        box.click()
        box.fill('')
        box.press_sequentially(option)
        page.locator(f'#{field} [role=option]', has_text=option).first.click()
    page.keyboard.press('Escape')


def choose_classes(page, *classes):
    chosen = page.locator('#classes .token')
    page.click('#classes .remove-all')
    expect(chosen).to_have_count(0)
    choose(page, 'classes', *classes)
    expect(chosen).to_have_count(len(classes))


def fill(page, field, value):
    page.locator(f'#{field} input, #{field} textarea').first.fill(str(value))


def paint(page):
    """Paints over a part of the picture in the middle of the canvas."""
    canvas = page.locator('#hole-editor canvas').first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    middle = box['x'] + box['width'] / 2, box['y'] + box['height'] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] + 30, middle[1] + 9, steps=5)
    page.mouse.up()


def gallery_of(page, place, count):
    items = page.locator(f'#{place}-view figcaption')
    expect(items.first).to_be_visible(timeout=PATIENCE)
    expect(items).to_have_count(count)
    return items


def npz_of(page, place, folder):
    with page.expect_download() as download:
        page.click(f'#{place}-npz')
    path = folder / f'{place}.npz'
    download.value.save_as(path)
    with np.load(path) as file:
        return file['arr_0'], file['arr_1']


def expected_pixels(**arguments):
    return sample(init_model(DIGITS, 'cpu'), **arguments).pixels


def test_four_digits_are_what_python_makes(visit, tmp_path, address):
    page = visit()
    choose_classes(page, '3', '7', '8', '9')
    fill(page, 'seed', 40)
    page.click('#samples-run')
    items = gallery_of(page, 'samples', 4)
    assert items.nth(1).inner_text().startswith('seed 41 · class 7 · judge: class ')
    pictures = page.locator('#samples-view img')
    assert pictures.nth(1).get_attribute('alt') == items.nth(1).inner_text()
    page.wait_for_function(
        "[...document.querySelectorAll('#samples-view img')].every(each => each.naturalWidth == 16)"
    )
    page.screenshot(path=tmp_path / 'result.png')
    assert (tmp_path / 'result.png').stat().st_size > 10_000

    images, labels = npz_of(page, 'samples', tmp_path)
    assert labels.tolist() == [3, 7, 8, 9]
    wanted = expected_pixels(labels=[3, 7, 8, 9], seed=40, steps=25, scale=2)
    assert np.array_equal(images, wanted)
    assert page.errors == []
    assert {url for url in page.asked if not url.startswith((address, 'data:', 'blob:'))} == set()


@pytest.mark.slow
class TestWholePage:
    @pytest.mark.parametrize('width', [390, 1280])
    def test_nothing_is_wider_than_the_screen_and_the_button_is_at_hand(
        self, visit, tmp_path, width
    ):
        page = visit(dict(width=width, height=844))
        fill(page, 'steps', 3)
        for place, name in TABS.items():
            page.get_by_role('tab', name=name, exact=True).click()
            if place == 'hole':
                page.click('#hole-example')
                expect(page.locator('#hole-view')).to_contain_text('Paint over', timeout=PATIENCE)
                paint(page)
                choose(page, 'hole-method', 'ddnm')
            button = page.locator(f'#{place}-run')
            if width == 390:
                assert button.evaluate('each => each.getBoundingClientRect().bottom') <= 844
            button.click()
            page.wait_for_selector(f'#{place}-view figcaption')
            if width == 390:
                first = page.locator(f'#{place}-view img').first
                assert 0 <= first.evaluate('each => each.getBoundingClientRect().top') < 400
            page.get_by_text('Copy as Python or as a command').locator('visible=true').click()
            page.screenshot(path=tmp_path / f'{place}.png', full_page=True)
            assert page.evaluate('document.documentElement.scrollWidth') <= width, place
            unnamed = page.locator(f'#{place}-view img:not([alt]), #{place}-view img[alt=""]')
            assert unnamed.count() == 0
        assert page.errors == []

    def test_classes_cost_two_tab_stops_and_the_focus_is_seen(self, visit):
        page = visit()
        page.locator('#classes input').focus()
        stops = []
        while 'per-class' not in stops:
            page.keyboard.press('Tab')
            stops.append(page.evaluate("document.activeElement.closest('[id]').id"))
            assert len(stops) <= 2
        outline = page.evaluate('getComputedStyle(document.activeElement).outlineStyle')
        assert outline == 'solid'

    def test_a_hole_that_is_painted_is_filled(self, visit):
        page = visit()
        page.get_by_role('tab', name='Fill', exact=True).click()
        page.click('#hole-example')
        expect(page.locator('#hole-view')).to_contain_text('Paint over', timeout=PATIENCE)
        paint(page)
        choose(page, 'hole-method', 'ddnm')
        fill(page, 'hole-draws', 2)
        page.click('#hole-run')
        assert 'seed 1' in gallery_of(page, 'hole', 3).nth(2).inner_text()
        assert page.errors == []

    def test_a_preview_is_seen_and_a_stop_stops(self, visit, device):
        page = visit()
        fill(page, 'steps', 1000)
        page.click('#samples-run')
        page.wait_for_selector('#samples-view .adm-pictures img')
        assert 'Step ' in page.inner_text('#samples-view')
        page.click('#samples-stop')
        page.wait_for_selector('#samples-view [role=status]')
        assert 'Stopped' in page.inner_text('#samples-view')
        assert not device.locked()
        page.wait_for_selector('#samples-run:enabled')

    def test_a_tab_that_is_closed_frees_the_device(self, visit, device):
        page = visit()
        fill(page, 'steps', 1000)
        page.click('#samples-run')
        page.wait_for_selector('#samples-view .adm-pictures img')
        assert device.locked()
        page.close()
        wait_until(lambda: not device.locked())

    def test_two_take_turns_and_who_leaves_gets_no_more(self, visit, device):
        first, second = visit(), visit()
        for page in (first, second):
            fill(page, 'steps', 1000)
            page.click('#samples-run')
        for page in (first, second):
            page.wait_for_selector('#samples-view .adm-pictures img')
        second.close()
        first.click('#samples-stop')
        first.wait_for_selector('#samples-view [role=status]')
        time.sleep(2)
        assert not device.locked()

    def test_two_visitors_get_their_own(self, visit, tmp_path):
        pages = {seed: visit() for seed in (100, 200)}
        for seed, page in pages.items():
            fill(page, 'seed', seed)
            page.click('#samples-run')
        for seed, page in pages.items():
            gallery_of(page, 'samples', 10)
            images, _ = npz_of(page, 'samples', tmp_path)
            wanted = expected_pixels(labels=range(10), seed=seed, steps=25, scale=2)
            assert np.array_equal(images, wanted)

    def test_a_sweep_shows_a_row_of_scales(self, visit, tmp_path):
        page = visit()
        choose_classes(page, '5')
        page.get_by_role('tab', name='Sweep', exact=True).click()
        fill(page, 'sweep-scales', '0, 2, 8')
        page.click('#sweep-run')
        items = gallery_of(page, 'sweep', 3)
        texts = [text.rsplit(' · ', 1)[0] for text in items.all_inner_texts()]
        assert texts == [f'scale {scale} · class 5' for scale in (0, 2, 8)]
        images, _ = npz_of(page, 'sweep', tmp_path)
        assert len(images) == 3
        page.screenshot(path=tmp_path / 'sweep.png')

    def test_a_trajectory_ends_in_the_image(self, visit, tmp_path):
        page = visit()
        choose_classes(page, '4', '5')
        page.get_by_role('tab', name='Trajectory').click()
        page.click('#trajectory-run')
        items = gallery_of(page, 'trajectory', 2)
        assert items.last.inner_text().startswith('seed 1 · class 5')
        strip = page.locator('#trajectory-view img').last
        page.wait_for_function('document.images[document.images.length - 1].naturalWidth > 400')
        assert strip.evaluate('each => each.width > 2 * each.height')
        with page.expect_download() as download:
            page.click('#trajectory-zip')
        download.value.save_as(tmp_path / 'images.zip')
        with zipfile.ZipFile(tmp_path / 'images.zip') as archive:
            assert '000000_trajectory.gif' in archive.namelist()
        page.screenshot(path=tmp_path / 'trajectory.png')

    def test_copied_python_makes_what_is_seen(self, visit, tmp_path):
        page = visit()
        choose_classes(page, '2')
        fill(page, 'interval', '0.5-1')
        page.click('#samples-run')
        gallery_of(page, 'samples', 1)
        images, _ = npz_of(page, 'samples', tmp_path)
        names = {}
        exec(page.inner_text('#samples-python .cm-content'), names)
        assert 'interval=(500, 1000)' in page.inner_text('#samples-python .cm-content')
        assert np.array_equal(names['samples'].pixels, images)

    def test_methods_follow_the_scheduler(self, visit):
        page = visit()
        choose(page, 'scheduler', 'ddpm')
        choose(page, 'method', 'Pixel as param')
        fill(page, 'steps', 5)
        page.click('#samples-run')
        gallery_of(page, 'samples', 10)
        choose(page, 'scheduler', 'unipc')
        page.get_by_text('is not defined for unipc').first.wait_for()
        assert page.locator('#method input').input_value() == 'Classifier'

    def test_classes_are_found_by_name(self, visit):
        page = visit()
        choose(page, 'model', 'adm-g_ddim25_8xb32_imagenet-64x64')
        page.get_by_text('64×64 · 1000 classes').wait_for()
        choose(page, 'classes', 'golden ret')
        choose_classes(page, 'lesser panda')
        assert 'lesser panda' in page.inner_text('#classes')

    def test_weights_that_cannot_be_fetched_are_a_line_on_the_page(
        self, visit, monkeypatch, tmp_path
    ):
        monkeypatch.setenv('MMAGIC_ADM_CACHE', str(tmp_path))
        monkeypatch.setattr('mmagic_adm.files.download.transfer', refuse)
        page = visit()
        choose(page, 'model', 'adm_ddim250_8xb32_lsun-cat-256x256')
        page.get_by_text('256×256').first.wait_for()
        assert not page.is_visible('#classes')
        page.click('#samples-run')
        page.wait_for_selector('#samples-view [role=alert]')
        assert 'no way there' in page.inner_text('#samples-view').lower()
        page.screenshot(path=tmp_path / 'error.png')
        choose(page, 'model', DIGITS)
        page.get_by_text('16×16').first.wait_for()
        page.click('#samples-run')
        gallery_of(page, 'samples', 10)

    @pytest.mark.parametrize(
        ('field', 'value', 'message'),
        [
            ('per-class', 50, 'up to 100 images, not 500'),
            ('per-class', '', 'images per class is a whole number'),
            ('seed', -1, 'the first seed is a whole number from 0'),
            ('steps', 0, 'the number of steps is a whole number from 1 to 1000'),
            ('steps', 9999, 'the number of steps is a whole number from 1 to 1000'),
            ('interval', 'late', 'the interval is two timesteps'),
        ],
    )
    def test_nonsense_is_a_line_on_the_page(self, visit, field, value, message):
        page = visit()
        fill(page, field, value)
        page.click('#samples-run')
        page.wait_for_selector('#samples-view [role=alert]')
        assert message in page.inner_text('#samples-view').lower()

    def test_no_class_is_a_line_on_the_page(self, visit):
        page = visit()
        page.click('#classes .remove-all')
        page.click('#samples-run')
        page.wait_for_selector('#samples-view [role=alert]')
        assert 'Choose at least one class' in page.inner_text('#samples-view')


def refuse(url, partial):
    raise CheckpointError(f'{url}: no way there')


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
