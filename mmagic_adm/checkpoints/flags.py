"""The command-line flags of the original project's scripts: which there are, and how they read."""

import difflib
import logging
import re
import shlex
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, NamedTuple, get_args

from mmengine.logging import print_log

from mmagic_adm.networks.classifier import Pool


class Flag(NamedTuple):
    """How a flag's value is read, what it takes, and its value where it is absent."""

    read: Callable[[str], Any]
    takes: str
    default: Any = None  # the scripts differ


_TRUTH = dict.fromkeys(('yes', 'true', 't', 'y', '1'), True)
_TRUTH |= dict.fromkeys(('no', 'false', 'f', 'n', '0'), False)


def _read_numbers(text: str, convert: Callable[[str], float] = int) -> tuple[float, ...]:
    numbers = tuple(map(convert, text.split(',')))
    if min(numbers) <= 0:
        raise ValueError
    return numbers


def _read_multipliers(text: str) -> tuple[float, ...]:
    return _read_numbers(text, lambda n: float(n) if '.' in n else int(n)) if text else ()


def _read_respacing(text: str) -> str:
    if not re.fullmatch(r'((ddim)?[1-9]\d*|\d+(,\d+)+)?', text):
        raise ValueError
    return text


def _one_of(*choices: str, default: str | None = None) -> Flag:
    return Flag(lambda text: choices[choices.index(text)], ' or '.join(choices), default)


_boolean = partial(Flag, lambda text: _TRUTH[text.lower()], 'True or False')
_integer = partial(Flag, int, 'a whole number')
_number = partial(Flag, float, 'a number')
_text = partial(Flag, str, 'text')
_sizes = partial(Flag, _read_numbers, 'feature-map sizes with commas between them, such as 32,16,8')

NETWORK_FLAGS = {
    'image_size': _integer(64),
    'num_channels': _integer(128),
    'num_res_blocks': _integer(2),
    'num_heads': _integer(4),
    'num_heads_upsample': _integer(-1),
    'num_head_channels': _integer(-1),
    'attention_resolutions': _sizes((16, 8)),
    'channel_mult': Flag(
        _read_multipliers, 'numbers with commas between them, such as 1,2,3,4, or nothing', ()
    ),
    'dropout': _number(0.0),
    'class_cond': _boolean(False),
    'use_checkpoint': _boolean(False),
    'use_scale_shift_norm': _boolean(True),
    'resblock_updown': _boolean(False),
    'use_fp16': _boolean(False),
    'use_new_attention_order': _boolean(False),
}
UPSAMPLER_FLAGS = {
    'large_size': _integer(256),
    'small_size': _integer(64),
}
CLASSIFIER_FLAGS = {
    'classifier_use_fp16': _boolean(False),
    'classifier_width': _integer(128),
    'classifier_depth': _integer(2),
    'classifier_attention_resolutions': _sizes((32, 16, 8)),
    'classifier_use_scale_shift_norm': _boolean(True),
    'classifier_resblock_updown': _boolean(True),
    'classifier_pool': _one_of(*get_args(Pool), default='attention'),
}
DIFFUSION_FLAGS = {
    'learn_sigma': _boolean(False),
    'sigma_small': _boolean(False),
    'diffusion_steps': _integer(1000),
    'noise_schedule': _one_of('linear', 'cosine', default='linear'),
    'timestep_respacing': Flag(
        _read_respacing, 'a number of steps, ddim and a number, or counts such as 10,15,20', ''
    ),
    'use_kl': _boolean(False),
    'predict_xstart': _boolean(False),
    'rescale_timesteps': _boolean(False),
    'rescale_learned_sigmas': _boolean(False),
}
SAMPLING_FLAGS = {
    'clip_denoised': _boolean(True),
    'use_ddim': _boolean(False),
    'classifier_scale': _number(1.0),
    'num_samples': _integer(),
    'batch_size': _integer(),
    'model_path': _text(),
    'classifier_path': _text(),
    'base_samples': _text(),
}
TRAINING_FLAGS = {
    'data_dir': _text(),
    'val_data_dir': _text(),
    'noised': _boolean(),
    'iterations': _integer(),
    'schedule_sampler': _one_of('uniform', 'loss-second-moment'),
    'lr': _number(),
    'weight_decay': _number(),
    'lr_anneal_steps': _integer(),
    'anneal_lr': _boolean(),
    'microbatch': _integer(),
    'ema_rate': _text(),
    'log_interval': _integer(),
    'eval_interval': _integer(),
    'save_interval': _integer(),
    'resume_checkpoint': _text(),
    'fp16_scale_growth': _number(),
}
# Values that improved diffusion's scripts have, where they are not told, instead of ADM's.
_DEFAULTS: dict[str, dict[str, Any]] = {
    'guided-diffusion': {},
    'improved-diffusion': {'rescale_timesteps': True, 'rescale_learned_sigmas': True},
}
PROJECTS = tuple(_DEFAULTS)
# Flags that only one of the two projects has.
_OWN = {
    'guided-diffusion': {
        *CLASSIFIER_FLAGS,
        'num_head_channels',
        'channel_mult',
        'resblock_updown',
        'use_new_attention_order',
        'classifier_scale',
        'classifier_path',
    },
    'improved-diffusion': {'sigma_small'},
}
FLAGS = {
    **NETWORK_FLAGS,
    **UPSAMPLER_FLAGS,
    **CLASSIFIER_FLAGS,
    **DIFFUSION_FLAGS,
    **SAMPLING_FLAGS,
    **TRAINING_FLAGS,
}


def project_of(given: Collection[str], told: str | None) -> str:
    """The project whose scripts flags are for; says so where it has to be guessed.

    Args:
        given: The flags that there are.
        told: What is known of it: one of ``PROJECTS``, or None.

    Raises:
        ValueError: There is no such project, or a flag is the other's.
    """
    if told is not None and told not in PROJECTS:
        raise ValueError(f'project is {" or ".join(PROJECTS)}, not {told!r}')
    shown = [project for project in PROJECTS if _OWN[project] & set(given)]
    foreign = [name for project in shown if project != (told or shown[0]) for name in _OWN[project]]
    for name in given:
        if name in foreign:
            raise ValueError(f'--{name} is no flag of {told or shown[0]}')
    if told or shown:
        return told or shown[0]
    open_ = {name for changes in _DEFAULTS.values() for name in changes if name not in given}
    if open_:
        print_log(
            f'read as flags of {PROJECTS[0]}; of {PROJECTS[1]} (project=, --project) they would '
            f'have another {" and ".join(sorted(open_))}',
            logger='current',
            level=logging.WARNING,
        )
    return PROJECTS[0]


def defaults_of(project: str) -> dict[str, Any]:
    """The value of every flag that a project's scripts are not told."""
    return {name: flag.default for name, flag in FLAGS.items()} | _DEFAULTS[project]


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
        except (ValueError, KeyError):
            raise ValueError(f'--{name} takes {FLAGS[name].takes}, not {text!r}') from None
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
