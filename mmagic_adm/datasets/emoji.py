"""Emoji drawings from packages of the npm registry: colour, eight classes, two styles."""

import functools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from mmengine.dataset import BaseDataset
from numpy.typing import NDArray
from PIL import Image

from mmagic_adm.files.pictures import read_picture
from mmagic_adm.registry import DATASETS, TRANSFORMS

Split = Literal['train', 'held_out']
SPLITS: tuple[Split, ...] = ('train', 'held_out')

GOOGLE = 'emoji-datasource-google'
FLUENT = '@lobehub/fluent-emoji-3d'
FETCH = f'npm install --prefix data/emoji {GOOGLE}@16.0.0 {FLUENT}@1.1.0'
# Where a package keeps the drawing of an emoji, named after its code points.
GOOGLE_DRAWING = f'{GOOGLE}/img/google/64/{{}}.png'
FLUENT_DRAWING = f'{FLUENT}/assets/{{}}.webp'
LIST = f'{GOOGLE}/emoji.json'


class Kind(NamedTuple):
    """Emoji that look alike."""

    subgroups: tuple[str, ...]  # Of Unicode's emoji list.
    word: str = ''  # In the Unicode names of those meant.
    mirrors: bool = True  # Whether it makes sense seen in a mirror.
    drawings: tuple[str, ...] = (GOOGLE_DRAWING, FLUENT_DRAWING)


KINDS = dict(
    face=Kind(
        (
            'face-smiling',
            'face-affection',
            'face-tongue',
            'face-hand',
            'face-neutral-skeptical',
            'face-sleepy',
            'face-unwell',
            'face-hat',
            'face-glasses',
            'face-concerned',
        )
    ),
    animal=Kind(('cat-face', 'animal-mammal', 'animal-amphibian', 'animal-reptile'), word='FACE'),
    person=Kind(('person',)),
    heart=Kind(('heart',)),
    fruit=Kind(('food-fruit',)),
    clock=Kind(('time',), word='CLOCK FACE', mirrors=False),
    button=Kind(('zodiac', 'keycap', 'av-symbol', 'arrow'), mirrors=False),
    # Microsoft's own collection has no flags; whose the other package's are, it doesn't say.
    flag=Kind(('country-flag',), mirrors=False, drawings=(GOOGLE_DRAWING,)),
)
HELD_OUT = 4  # One in so many.


@DATASETS.register_module()
class Emoji(BaseDataset):
    """Drawings of emoji by Google and Microsoft, for a pipeline that starts with DrawEmoji.

    Every fourth emoji of a class is held out, in all its drawings and skin tones.

    Args:
        data_root: The folder that has the two packages; the ``node_modules`` that npm made.
        split: 'train' or 'held_out'.
        balance: Lists the drawings of smaller classes several times, to make them about as
            frequent as those of the largest.
        pipeline: Transforms.
        **kwargs: Further arguments of MMEngine's BaseDataset.
    """

    METAINFO = dict(classes=tuple(KINDS))

    def __init__(
        self,
        data_root: str = 'data/emoji/node_modules',
        split: Split = 'train',
        balance: bool = False,
        pipeline: Sequence = (),
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'split is one of {", ".join(SPLITS)}, not {split!r}')
        self.split: Split = split
        self.balance = balance
        super().__init__(data_root=data_root, pipeline=list(pipeline), **kwargs)

    def load_data_list(self) -> list[dict]:
        """One entry a drawing: ``gt_path``, ``gt_label``, and whether it ``mirrors``."""
        emoji = read_list(self.data_root)
        files = {name: self._files(name, emoji) for name in KINDS}
        largest = max(map(len, files.values()))
        return [
            dict(gt_path=file, gt_label=label, mirrors=KINDS[name].mirrors)
            for label, name in enumerate(KINDS)
            for file in files[name]
            for _ in range(round(largest / len(files[name])) if self.balance else 1)
        ]

    def _files(self, name: str, emoji: list[dict]) -> list[str]:
        """The split's drawings of a class."""
        kind = KINDS[name]
        members = [
            one
            for one in emoji
            if one['subcategory'] in kind.subgroups and kind.word in (one['name'] or '')
        ]
        places = [os.path.join(self.data_root, drawing) for drawing in kind.drawings]
        files = [place.format(code) for place in places for code in self._codes(members)]
        found = [file for file in files if os.path.exists(file)]
        if not found:
            raise FileNotFoundError(
                f'{self.data_root} has no drawing of a {name}; to fetch the packages anew: {FETCH}'
            )
        return found

    def _codes(self, members: list[dict]) -> Iterator[str]:
        """The code points of the split's emoji, and of their skin tones."""
        for place, one in enumerate(members):
            if (place % HELD_OUT == HELD_OUT - 1) == (self.split == 'held_out'):
                for variation in (one, *one.get('skin_variations', {}).values()):
                    yield variation['unified'].lower()


def read_list(data_root: str) -> list[dict]:
    """The emoji that a folder of packages describes, in Unicode's order.

    Raises:
        FileNotFoundError: One of the packages is not there.
    """
    for package in (GOOGLE, FLUENT):
        if not os.path.isdir(os.path.join(data_root, package)):
            raise FileNotFoundError(f'{data_root} has no {package}; to fetch it: {FETCH}')
    emoji = json.loads(Path(data_root, LIST).read_text(encoding='utf-8'))
    return sorted(emoji, key=lambda one: one['sort_order'])


@TRANSFORMS.register_module()
class DrawEmoji:
    """Draws an emoji on white paper.

    Args:
        image_size: Height and width of the image.
        mirror_prob: How often it is mirrored, if it is one that may be.
    """

    def __init__(self, image_size: int = 32, mirror_prob: float = 0.0) -> None:
        self.image_size = image_size
        self.mirror_prob = mirror_prob

    def __call__(self, results: dict[str, Any]) -> dict[str, Any]:
        """Adds ``img``, (H, W, 3) uint8."""
        image = on_white(results['gt_path'], self.image_size)
        if results['mirrors'] and self.mirror_prob and results['rng'].random() < self.mirror_prob:
            image = image[:, ::-1]
        return {**results, 'img': image}


@functools.cache
def on_white(path: str, size: int) -> NDArray[np.uint8]:
    """A drawing with a transparent background, on white, (size, size, 3); read once, and kept."""
    ink = read_picture(path).convert('RGBA')
    paper = Image.new('RGBA', ink.size, 'white')
    image = Image.alpha_composite(paper, ink).convert('RGB')
    return np.asarray(image.resize((size, size), Image.Resampling.BOX))
