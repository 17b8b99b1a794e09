"""MMagic's checkpoints: those of a runner, with names of its own for a U-Net's tensors."""

import re
from pathlib import Path

from mmagic_adm.checkpoints.formats import Kind, Metadata, Networks, kind_of, under_prefixes
from mmagic_adm.checkpoints.torch_files import OpenAIFile, save

# MMagic's U-Net and OpenAI's hold the same tensors under other names, one to one. Its classifier
# has OpenAI's names.
_OPENAI_NAMES = {
    'time_embedding.blocks': 'time_embed',
    'label_embedding': 'label_emb',
    'in_blocks': 'input_blocks',
    'mid_blocks': 'middle_block',
    'out_blocks': 'output_blocks',
    'conv_1': 'in_layers',
    'norm_with_embedding.norm': 'out_layers.0',
    'norm_with_embedding.embedding_layer': 'emb_layers',
    'conv_2.2': 'out_layers.3',
    'shortcut': 'skip_connection',
    'downsample': 'op',
    'out.gn': 'out.0',
    'out.conv': 'out.2',
}
_MMAGIC_NAMES = {openai: mmagic for mmagic, openai in _OPENAI_NAMES.items()}
# The tensor by which a network under MMagic's names is told.
MMAGIC_MARK = 'time_embedding.blocks.0.weight'


class MMagicFile(OpenAIFile):
    """Networks under the prefixes of a model's parts, the U-Net under MMagic's names."""

    layout = 'mmagic'
    marks = (MMAGIC_MARK,)

    def write(self, path: Path, networks: Networks, metadata: Metadata) -> None:
        """Writes ADM's networks; MMagic has names for no others."""
        renamed = {}
        for part, state in networks.items():
            kind = kind_of(state)
            renamed[part or kind] = {mmagic_name(key, kind): state[key] for key in state}
        save(dict(state_dict=under_prefixes(renamed), meta=dict(metadata)), path)


def openai_name(mmagic_name: str) -> str:
    """OpenAI's name for a tensor of MMagic's U-Net."""
    return _renamed(mmagic_name, _OPENAI_NAMES)


def mmagic_name(openai_name: str, kind: Kind = 'unet') -> str:
    """MMagic's name for a tensor of OpenAI's U-Net, or classifier."""
    return _renamed(openai_name, _MMAGIC_NAMES) if kind == 'unet' else openai_name


def _renamed(key: str, names: dict[str, str]) -> str:
    # Names stand between dots, and one pass renames each but once.
    longest_first = sorted(names, key=len, reverse=True)
    pattern = r'(?<=\.)(' + '|'.join(map(re.escape, longest_first)) + r')(?=\.)'
    return re.sub(pattern, lambda match: names[match[1]], f'.{key}.')[1:-1]
