import json

import numpy as np
import pytest
from PIL import Image

from mmagic_adm.datasets.emoji import (
    FLUENT,
    FLUENT_DRAWING,
    GOOGLE,
    GOOGLE_DRAWING,
    KINDS,
    DrawEmoji,
    Emoji,
    on_white,
)
from mmagic_adm.files.pictures import UnreadableImageError

EACH = 4  # Of a class: the fourth is held out.


@pytest.fixture(scope='module')
def packages(tmp_path_factory):
    return write_packages(tmp_path_factory.mktemp('packages'))


@pytest.fixture
def changing_packages(tmp_path):
    return write_packages(tmp_path)


def write_packages(folder):
    """Both packages with four emoji a class, an emoji of no class, and people in two tones."""
    emoji = [
        dict(
            name=f'A {kind.word}',
            unified=f'1F{number}{member}',
            subcategory=kind.subgroups[-1],
            sort_order=-100 * number + member,
        )
        for number, kind in enumerate(KINDS.values())
        for member in range(EACH)
    ]
    first = EACH * list(KINDS).index('person')
    for person in (emoji[first], emoji[first + EACH - 1]):
        person['skin_variations'] = {'1F3FB': dict(unified=person['unified'] + '-1F3FB')}
    emoji.append(dict(name=None, unified='1F999', subcategory='time', sort_order=0))
    for one in emoji:
        for variation in (one, *one.get('skin_variations', {}).values()):
            for place in (GOOGLE_DRAWING, FLUENT_DRAWING):
                path = folder / place.format(variation['unified'].lower())
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new('RGBA', (8, 8), (255, 0, 0, 255)).save(path, lossless=True)
    folder.joinpath(GOOGLE, 'emoji.json').write_text(json.dumps(emoji[::-1]))
    return folder


def names(dataset, label):
    """File names of a class, once for each time they are listed."""
    infos = (dataset.get_data_info(i) for i in range(len(dataset)))
    return [info['gt_path'].split('/')[-1] for info in infos if info['gt_label'] == label]


def test_each_class_has_its_emoji_by_both_hands(packages):
    dataset = Emoji(str(packages))
    assert dataset.metainfo['classes'] == tuple(KINDS)
    heart = list(KINDS).index('heart')
    assert names(dataset, heart) == [
        f'1f{heart}{member}.{kind}' for kind in ('png', 'webp') for member in range(EACH - 1)
    ]


def test_flags_are_googles_alone(packages):
    flag = list(KINDS).index('flag')
    assert all(name.endswith('.png') for name in names(Emoji(str(packages)), flag))


def test_an_emoji_without_the_word_is_of_no_class(packages):
    dataset = Emoji(str(packages))
    assert not any('1f999' in name for label in range(8) for name in names(dataset, label))


def test_an_emoji_is_in_one_split_with_all_its_drawings_and_tones(packages):
    train, held_out = Emoji(str(packages)), Emoji(str(packages), split='held_out')
    person = list(KINDS).index('person')
    assert names(held_out, person) == [
        f'1f{person}3{tone}.{kind}' for kind in ('png', 'webp') for tone in ('', '-1f3fb')
    ]
    assert f'1f{person}0-1f3fb.webp' in names(train, person)
    for label in range(len(KINDS)):
        emoji = [{name.split('.')[0] for name in names(one, label)} for one in (train, held_out)]
        assert not emoji[0] & emoji[1]


def test_balanced_classes_are_about_as_large_as_the_largest(packages):
    plain, balanced = Emoji(str(packages)), Emoji(str(packages), balance=True)
    sizes = [[len(names(one, label)) for label in range(8)] for one in (plain, balanced)]
    assert sizes[0] == [6, 6, 8, 6, 6, 6, 6, 3]
    assert sizes[1] == [6, 6, 8, 6, 6, 6, 6, 9]


@pytest.fixture
def drawn(tmp_path):
    """What becomes of a drawing."""

    def draw(drawing, size):
        drawing.save(tmp_path / 'drawing.png')
        return on_white(str(tmp_path / 'drawing.png'), size)

    return draw


def test_what_is_transparent_shows_white_paper(drawn):
    drawing = Image.new('RGBA', (4, 4), (0, 0, 0, 0))
    drawing.paste((200, 100, 0, 255), (0, 0, 2, 4))
    drawing.paste((200, 100, 0, 51), (2, 0, 3, 4))
    opaque, fifth, none = [200, 100, 0], [244, 224, 204], [255, 255, 255]
    assert drawn(drawing, 4)[0].tolist() == [opaque, opaque, fifth, none]


def test_drawings_are_shrunk_without_aliasing(drawn):
    stripes = Image.fromarray(np.tile(np.array([0, 255], np.uint8), (16, 8))).convert('RGBA')
    assert set(drawn(stripes, 4).flat) <= {127, 128}


def test_what_may_be_mirrored_is_every_other_time(tmp_path):
    drawing = Image.new('RGBA', (2, 1), 'white')
    drawing.putpixel((0, 0), (0, 0, 0, 255))
    path = tmp_path / 'half.png'
    drawing.save(path)
    rng = np.random.default_rng(0)
    for mirrors, expected in ((True, {0, 255}), (False, {0})):
        transform = DrawEmoji(2, mirror_prob=0.5)
        info = dict(gt_path=str(path), mirrors=mirrors, rng=rng)
        left = [int(transform(info)['img'][0, 0, 0]) for _ in range(40)]
        assert set(left) == expected


def test_only_what_looks_right_in_a_mirror_is_mirrored(packages):
    dataset = Emoji(str(packages))
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    labels = {info['gt_label'] for info in infos if not info['mirrors']}
    assert {list(KINDS)[label] for label in labels} == {'clock', 'button', 'flag'}


def test_a_missing_package_says_how_to_fetch_it(changing_packages):
    changing_packages.joinpath(FLUENT).rename(changing_packages / 'elsewhere')
    with pytest.raises(FileNotFoundError, match=f'has no {FLUENT}; to fetch it: npm install'):
        Emoji(str(changing_packages))


def test_a_class_without_a_drawing_is_named(changing_packages):
    label = list(KINDS).index('flag')
    for path in changing_packages.glob(f'{GOOGLE}/img/google/64/1f{label}*'):
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r'has no drawing of a flag; .*npm install'):
        Emoji(str(changing_packages))


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="split is one of train, held_out, not 'test'"):
        Emoji(split='test')


def test_a_broken_drawing_is_named(tmp_path):
    path = tmp_path / 'broken.png'
    path.write_bytes(b'no image')
    with pytest.raises(UnreadableImageError, match=r'broken\.png is no readable image'):
        on_white(str(path), 8)
