"""Folders of Hugging Face and Kaggle: `hf://user/name`, `kaggle://owner/model/framework/variation`."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from tfrecsession.errors import InputError

HUBS = {
    "hf": ("huggingface_hub", r"[\w.-]+/[\w.-]+(@[\w./-]+)?", "hf://user/name or hf://user/name@revision"),
    "kaggle": ("kagglehub", r"[\w-]+(/[\w.-]+){3,4}", "kaggle://owner/model/framework/variation"),
}
FILES = ["preset.json", "README.md", "config.json", "metadata.json", "model.weights.h5", "assets/*"]


def is_of_hub(source) -> bool:
    """Returns whether a name is that of a hub, such as "hf://user/name", not a path."""
    return isinstance(source, str) and "://" in source


def folder_of(source) -> Path:
    """Returns the local folder of a preset; one of a hub is fetched into the cache of the hub's own library.

    A folder that is in the cache needs no network.

    Args:
        source: a path, or a name of a hub.

    Raises:
        InputError: the hub is unknown, its library is missing, or it cannot give the folder.
    """
    if not is_of_hub(source):
        if not Path(source).expanduser().is_dir():
            raise InputError(
                f"{source}: no such folder; must be a folder, {' or '.join(form for *_, form in HUBS.values())}"
            )
        return Path(source).expanduser()
    scheme, _, handle = source.partition("://")
    if scheme not in HUBS:
        raise InputError(f"{source}: must begin with {' or '.join(f'{name}://' for name in HUBS)}, or be a folder")
    library, pattern, form = HUBS[scheme]
    if not re.fullmatch(pattern, handle):
        raise InputError(f"{source}: must be {form}")
    try:
        module = import_module(library)
    except ImportError:
        raise InputError(
            f"{source}: needs {library}, which is not installed: pip install 'tfrecsession[hub]'"
        ) from None
    try:
        if scheme == "kaggle":
            return Path(module.model_download(handle))
        name, _, revision = handle.partition("@")
        return Path(module.snapshot_download(name, revision=revision or None, allow_patterns=FILES))
    except Exception as error:  # each library has errors of its own: no network, no such name, no permission
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{source}: cannot be fetched ({reason}): check the name and the network, or download the folder elsewhere "
            "and give its path"
        ) from None
