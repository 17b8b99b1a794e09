"""Lets ``_base_ = 'mmagic_adm::digits/….py'`` name a config of the package, from any folder.

MMEngine has this form for OpenMMLab's own packages alone: those on a list, and where an installed
copy of them is, which an editable one is not.
"""

from mmengine.config import Config

from mmagic_adm.configs import config_directory

PREFIX = 'mmagic_adm::'


def know_own_bases() -> None:
    """Makes every ``Config.fromfile`` of this process understand the form."""
    path_of_others = Config._get_cfg_path

    def path_of(base: str, config: str) -> tuple[str, str | None]:
        if not base.startswith(PREFIX):
            return path_of_others(base, config)
        path = config_directory() / base.removeprefix(PREFIX)
        if not path.is_file():
            raise ValueError(f'{config} is based on {base}, but there is no file {path}')
        return str(path), None

    Config._get_cfg_path = staticmethod(path_of)
