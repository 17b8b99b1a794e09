"""The command-line flags of the original project's scripts: which there are, and how they read."""

import difflib
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, get_args

from mmagic_adm.networks.classifier import Pool


class Flag(NamedTuple):
    """How a flag's value is read, and its value where it is absent (None: scripts differ)."""

    read: Callable[[str], Any]
    default: Any = None


def _reader(convert: Callable[[str], Any], what: str) -> Callable[[str], Any]:
    """What reads a value, and says what it should be where it is not."""

    def read(text: str) -> Any:
        try:
            return convert(text)
        except (ValueError, KeyError):
            raise ValueError(what) from None

    return read


def _one_of(*choices: str) -> Callable[[str], Any]:
    return _reader(lambda text: choices[choices.index(text)], ' or '.join(choices))


def _matching(pattern: str, convert: Callable[[str], Any], what: str) -> Callable[[str], Any]:
    def convert_match(text: str) -> Any:
        if not re.fullmatch(pattern, text):
            raise ValueError
        return convert(text)

    return _reader(convert_match, what)


_TRUTH = dict.fromkeys(('yes', 'true', 't', 'y', '1'), True)
_TRUTH |= dict.fromkeys(('no', 'false', 'f', 'n', '0'), False)

_boolean = _reader(lambda text: _TRUTH[text.lower()], 'True or False')
_integer = _reader(int, 'a whole number')
_number = _reader(float, 'a number')
_sizes = _matching(
    r'[1-9]\d*(,[1-9]\d*)*',
    lambda text: tuple(map(int, text.split(','))),
    'feature-map sizes with commas between them, such as 32,16,8',
)
_multipliers = _matching(
    r'(\d+(\.\d+)?(,\d+(\.\d+)?)*)?',
    lambda text: tuple(float(n) if '.' in n else int(n) for n in text.split(',') if n),
    'numbers with commas between them, such as 1,2,3,4, or nothing',
)
_respacing = _matching(
    r'((ddim)?[1-9]\d*|\d+(,\d+)+)?',
    str,
    'a number of steps, ddim and a number, or counts such as 10,15,20',
)

NETWORK_FLAGS = {
    'image_size': Flag(_integer, 64),
    'num_channels': Flag(_integer, 128),
    'num_res_blocks': Flag(_integer, 2),
    'num_heads': Flag(_integer, 4),
    'num_heads_upsample': Flag(_integer, -1),
    'num_head_channels': Flag(_integer, -1),
    'attention_resolutions': Flag(_sizes, (16, 8)),
    'channel_mult': Flag(_multipliers, ()),
    'dropout': Flag(_number, 0.0),
    'class_cond': Flag(_boolean, False),
    'use_checkpoint': Flag(_boolean, False),
    'use_scale_shift_norm': Flag(_boolean, True),
    'resblock_updown': Flag(_boolean, False),
    'use_fp16': Flag(_boolean, False),
    'use_new_attention_order': Flag(_boolean, False),
}
UPSAMPLER_FLAGS = {
    'large_size': Flag(_integer, 256),
    'small_size': Flag(_integer, 64),
}
CLASSIFIER_FLAGS = {
    'classifier_use_fp16': Flag(_boolean, False),
    'classifier_width': Flag(_integer, 128),
    'classifier_depth': Flag(_integer, 2),
    'classifier_attention_resolutions': Flag(_sizes, (32, 16, 8)),
    'classifier_use_scale_shift_norm': Flag(_boolean, True),
    'classifier_resblock_updown': Flag(_boolean, True),
    'classifier_pool': Flag(_one_of(*get_args(Pool)), 'attention'),
}
DIFFUSION_FLAGS = {
    'learn_sigma': Flag(_boolean, False),
    'diffusion_steps': Flag(_integer, 1000),
    'noise_schedule': Flag(_one_of('linear', 'cosine'), 'linear'),
    'timestep_respacing': Flag(_respacing, ''),
    'use_kl': Flag(_boolean, False),
    'predict_xstart': Flag(_boolean, False),
    'rescale_timesteps': Flag(_boolean, False),
    'rescale_learned_sigmas': Flag(_boolean, False),
}
SAMPLING_FLAGS = {
    'clip_denoised': Flag(_boolean, True),
    'use_ddim': Flag(_boolean, False),
    'classifier_scale': Flag(_number, 1.0),
    'num_samples': Flag(_integer),
    'batch_size': Flag(_integer),
    'model_path': Flag(str),
    'classifier_path': Flag(str),
    'base_samples': Flag(str),
}
TRAINING_FLAGS = {
    'data_dir': Flag(str),
    'val_data_dir': Flag(str),
    'noised': Flag(_boolean),
    'iterations': Flag(_integer),
    'schedule_sampler': Flag(_one_of('uniform', 'loss-second-moment')),
    'lr': Flag(_number),
    'weight_decay': Flag(_number),
    'lr_anneal_steps': Flag(_integer),
    'anneal_lr': Flag(_boolean),
    'microbatch': Flag(_integer),
    'ema_rate': Flag(str),
    'log_interval': Flag(_integer),
    'eval_interval': Flag(_integer),
    'save_interval': Flag(_integer),
    'resume_checkpoint': Flag(str),
    'fp16_scale_growth': Flag(_number),
}
FLAGS = {
    **NETWORK_FLAGS,
    **UPSAMPLER_FLAGS,
    **CLASSIFIER_FLAGS,
    **DIFFUSION_FLAGS,
    **SAMPLING_FLAGS,
    **TRAINING_FLAGS,
}


def read_flags(flags: str | Sequence[str]) -> dict[str, Any]:
    """Reads the flags given; what is absent stays absent, and the last of a repeated one counts.

    Args:
        flags: A command line as a shell takes it, or its words. It may begin with the script's
            name, and lines that set variables for it may come before.

    Raises:
        ValueError: A flag is unknown, or its value is not what it takes; the message names it.
    """
    words = _shell_words(flags) if isinstance(flags, str) else list(flags)
    values = {}
    while words:
        word = words.pop(0)
        name, has_value, text = word.removeprefix('--').partition('=')
        if not word.startswith('--'):
            raise ValueError(f'{word!r} belongs to no flag; flags look like --image_size 64')
        if name not in FLAGS:
            near = difflib.get_close_matches(name, FLAGS, n=1)
            hint = f'; did you mean --{near[0]}?' if near else ''
            raise ValueError(f'--{name} is no flag of the original scripts{hint}')
        if not has_value:
            if not words or words[0].startswith('--'):
                raise ValueError(f'--{name} has no value')
            text = words.pop(0)
        try:
            values[name] = FLAGS[name].read(text)
        except ValueError as error:
            raise ValueError(f'--{name} takes {error}, not {text!r}') from None
    return values


def _shell_words(text: str) -> list[str]:
    """The flags in a piece of shell, with its variables put in and what runs the script left out.

    Where there are variables alone, their values are the flags.
    """
    variables: dict[str, list[str]] = {}
    words: list[str] = []
    for line in text.replace('\\\n', ' ').splitlines():
        line_words = shlex.split(line, comments=True)
        while line_words and (assignment := re.match(r'([A-Za-z_]\w*)=', line_words[0])):
            value = line_words.pop(0).removeprefix(assignment[0])
            variables[assignment[1]] = _expanded(shlex.split(value), variables)
        scripts = [n for n, word in enumerate(line_words) if word.endswith('.py')]
        words += _expanded(line_words[scripts[-1] + 1 if scripts else 0 :], variables)
    return words or [word for value in variables.values() for word in value]


def _expanded(words: Sequence[str], variables: dict[str, list[str]]) -> list[str]:
    expanded = []
    for word in words:
        variable = re.fullmatch(r'\$\{?(\w+)\}?', word)
        if variable and variable[1] not in variables:
            raise ValueError(f'{word} is not set; give the line that sets it too, or its value')
        expanded += variables[variable[1]] if variable else [word]
    return expanded
