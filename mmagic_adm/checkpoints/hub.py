"""Repositories of the Hugging Face Hub: hf://user/name, and hf://user/name@revision."""

import contextlib
import importlib
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.logging import print_log

from mmagic_adm.files.download import fetch
from mmagic_adm.files.whole import CheckpointError, sha256_of

SCHEME = 'hf://'
# Weights are taken as safetensors alone, and nothing is taken that could be run.
_WANTED = ['*.json', '*.safetensors', 'README.md']
_ADDRESS = re.compile(r'hf://(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?')
_COMMIT = re.compile(r'[0-9a-f]{40}')


def local_path(source: str | Path) -> Path:
    """The file, or the folder, that a path, URL or Hub address stands for, brought here if need be.

    Raises:
        CheckpointError: It cannot be had; see also :func:`fetch`.
    """
    if str(source).startswith(SCHEME):
        return _snapshot(str(source))
    folder = Path(source).expanduser()
    return folder if folder.is_dir() else fetch(source)


def upload(folder: Path, name: str, private: bool = False, message: str | None = None) -> str:
    """Puts the files of a folder into a repository, made if there is none.

    Args:
        folder: The folder.
        name: 'user/name'.
        private: Whether a repository that is made is private.
        message: What the change is called there.

    Returns:
        The address of what was put there, with its revision.
    """
    address = f'{SCHEME}{name}'
    _parts_of(address)
    with _explained(address):
        api = _client().HfApi()
        api.create_repo(name, private=private, exist_ok=True)
        said = message or 'Upload a model of mmagic-adm'
        api.upload_folder(repo_id=name, folder_path=folder, commit_message=said)
        return f'{address}@{api.model_info(name).sha}'


def _snapshot(address: str) -> Path:
    """The files of a repository at one revision, as the Hub's client keeps them."""
    name, revision = _parts_of(address)
    with _explained(address):
        folder = Path(_client().snapshot_download(name, revision=revision, allow_patterns=_WANTED))
    for file in folder.glob('**/*.safetensors'):
        _check(file, address)
    if not (revision and _COMMIT.fullmatch(revision)):
        print_log(f'{address} is {SCHEME}{name}@{folder.name} now, which stays what it is')
    return folder


def _parts_of(address: str) -> tuple[str, str | None]:
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise CheckpointError(
            f'{address} is no address of the Hub, such as hf://user/name or hf://user/name@revision'
        )
    return match['name'], match['revision']


def _check(file: Path, address: str) -> None:
    """Compares a file with its SHA-256, by which the client calls large files in its cache."""
    claimed = file.resolve().name
    if not re.fullmatch(r'[0-9a-f]{64}', claimed):
        return
    if sha256_of(file) != claimed:
        raise CheckpointError(
            f'{file.name} of {address} is damaged in the cache: remove {file.resolve()}, and it is '
            'downloaded again'
        )


def _client(part: str = '') -> Any:
    """The Hub's client, or a part of it."""
    if importlib.util.find_spec('huggingface_hub') is None:
        raise CheckpointError(
            "the Hub's client is not installed: pip install 'mmagic-adm[hub]'; or download the "
            'files and give their folder'
        )
    return importlib.import_module(f'huggingface_hub{part}')


@contextlib.contextmanager
def _explained(address: str) -> Iterator[None]:
    """Makes one line of what the client says is wrong."""
    errors = _client('.utils')
    page = f'https://huggingface.co/{_parts_of(address)[0]}'
    log_in = 'log in with `hf auth login`'
    try:
        yield
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f'the licence of {address} has to be accepted: do so on {page}, and {log_in}'
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f'{address} is missing or private: see if the name is right, or {log_in}'
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(f'{address} has no such revision; see {page}') from error
    except errors.LocalEntryNotFoundError as error:
        raise CheckpointError(
            f'{address} is not in the cache, and the Hub cannot be reached (HF_HUB_OFFLINE, or no '
            'network)'
        ) from error
    except (errors.HfHubHTTPError, OSError) as error:
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointError(f'{address}: {said[0]}') from error
