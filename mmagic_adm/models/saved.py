"""Models that are saved whole, config, weights and card, to a folder or to the Hub; and return."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmagic_adm.checkpoints.hub import upload
from mmagic_adm.checkpoints.loading import load_from_mmagic_adm
from mmagic_adm.checkpoints.model_folder import write_model
from mmagic_adm.models.configs import find_config
from mmagic_adm.registry import MODELS


class SavedModel:
    """Mixed into models that can be saved and found again.

    Attributes:
        built_from: The arguments that the model was built with, by name.
    """

    built_from: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> SavedModel:
        """Keeps the arguments, which nothing else does."""
        model = super().__new__(cls)
        names = list(inspect.signature(cls.__init__).parameters)[1:]
        model.__dict__['built_from'] = dict(zip(names, args, strict=False)) | kwargs
        return model

    def save_pretrained(
        self,
        folder: str | Path,
        overwrite: bool = False,
        figures: Mapping[str, Any] | None = None,
        seeds: str | Sequence[int] | None = None,
        licence: str | None = None,
    ) -> Path:
        """Writes config.json, model.safetensors, and README.md, a card of what they are.

        Args:
            folder: Where they go. It appears once it is complete, and not at all if that fails.
            overwrite: Whether to replace a folder of that name.
            figures: What was measured, by the name of the figure, for the card.
            seeds: Those of the samples that were measured, for the card.
            licence: That of the weights, for the card.

        Raises:
            CheckpointError: The model was given a part already built, in place of its config; or
                the folder cannot be written.
        """
        model: Any = self  # a module, where this is mixed in
        names = {kind: name for name, kind in MODELS.module_dict.items()}
        config = {'type': names.get(type(self), type(self).__name__), **self.built_from}
        autoencoder = model.stages[0].codec.stored()
        said = dict(figures=figures, seeds=seeds, licence=licence, autoencoder=autoencoder)
        return write_model(Path(folder), config, model.state_dict(), overwrite, **said)

    def push_to_hub(
        self, name: str, private: bool = False, message: str | None = None, **card: Any
    ) -> str:
        """Puts the same files into a repository of the Hub.

        Args:
            name: 'user/name'.
            private: Whether the repository, if it is made, is private.
            message: What the change is called there.
            **card: What is said on the card; see :meth:`save_pretrained`.

        Returns:
            Its address with its revision, as ``init_model`` takes it.
        """
        with tempfile.TemporaryDirectory() as temporary:
            folder = self.save_pretrained(Path(temporary) / name.rpartition('/')[2], **card)
            return upload(folder, name, private, message)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, torch_dtype: torch.dtype | None = None, **changes: Any
    ) -> Any:
        """The model in a folder or on the Hub, on the CPU and ready to sample from.

        Args:
            source: A folder, or hf://user/name, or hf://user/name@revision; of a model that was
                saved here, or of a network of ours in a pipeline of diffusers'.
            torch_dtype: What its networks compute in, as diffusers calls it; None is float32.
            **changes: Arguments of the model to change.
        """
        config = find_config(source)
        model = {**config.model.to_dict(), **changes}
        if 'all_weights' not in config:
            model['pretrained_cfgs'] = {
                part: dict(ckpt_path=file) for part, file in config.weights.items()
            }
        built: Any = MODELS.build(model)
        if not issubclass(type(built), cls):
            raise ValueError(f'{source} is a {type(built).__name__}, and no {cls.__name__}')
        if 'all_weights' in config:
            load_all(built, config.all_weights)
        if torch_dtype not in (None, torch.float32):
            profile = dict(base='exact', dtype=str(torch_dtype).removeprefix('torch.'))
            for stage in built.stages:
                stage.use_profile(profile)
        return built.eval()


def load_all(model: nn.Module, file: str | Path) -> None:
    """Gives a model all of its weights, from the file that it was saved to."""
    model.load_state_dict(load_from_mmagic_adm(str(file))['state_dict'])
