"""Models as files: which of them belong to a model, and their descriptors.

The service never opens a client's path. Whoever wants a model opens its files read-only and sends
the descriptors.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Union

from . import errors, messages, wire

Path = Union[str, "os.PathLike[str]"]

_SUFFIXES = (".json", ".jinja", ".safetensors")
_NAMES = ("merges.txt", "vocab.txt")
_BESIDE_A_FILE = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "chat_template.json",
    "chat_template.jinja",
)
_REFUSED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".gguf")


class Model:
    """A model that was offered. Usable on every connection of this process: a connection that has
    not offered it yet does so by itself.

    id: the service's name for exactly these files and choices    family: what recognised it
    memory: what it takes when it is loaded    warnings: what a careful user should know
    head, attention: as in Client.offer_model(); what is set before it is offered counts
    """

    def __init__(self, files: dict[str, str], name: str, dtype: str) -> None:
        self.files = files
        self.name = name
        self.dtype = dtype
        self.head = "auto"
        self.attention = "auto"
        self.id = ""
        self.family = ""
        self.memory = messages.MemoryPlan()
        self.warnings: list[str] = []

    def __repr__(self) -> str:
        return f"Model({self.name!r}, id={self.id!r}, family={self.family!r})"

    def open_files(self) -> list[int]:
        """A read-only descriptor for each of `files`. Raises BadModel, naming the file."""
        fds: list[int] = []
        try:
            for path in self.files.values():
                if not stat.S_ISREG(os.stat(path).st_mode):
                    raise errors.BadModel(f"{path} is not a regular file.", "Check the path.")
                fds.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        except BaseException as error:
            wire.close_all(fds)
            if isinstance(error, OSError):
                raise _unreadable(error.filename, error) from error
            raise
        return fds


def names_of(entries: Iterable[messages.ModelEntry]) -> dict[str, str]:
    """Id: name for people, with the dtype where models share a name."""
    shown = list(entries)
    often = Counter(entry.name for entry in shown)
    return {
        entry.model: f"{entry.name} {entry.dtype}" if often[entry.name] > 1 else entry.name
        for entry in shown
    }


def find_model(path_or_files: Path | Mapping[str, Path], dtype: str) -> Model:
    """The model in a folder, a single file, or files by label. Raises BadModel.

    A .safetensors file brings configuration and tokenizer along when they lie beside it.
    """
    if isinstance(path_or_files, Mapping):
        files = {str(label): os.fspath(path) for label, path in path_or_files.items()}
        if not files:
            raise errors.BadModel("A model of no files was offered.", "Name at least one file.")
        weights = [path for path in files.values() if path.endswith(".safetensors")]
        return _model(files, (weights or list(files.values()))[0], dtype)
    path = os.path.abspath(os.fspath(path_or_files))
    if os.path.isdir(path):
        return _model(_files_of_folder(path), path, dtype)
    if not os.path.exists(path):
        raise errors.BadModel(f"There is no file or folder {path}.", "Check the path.")
    beside = _files_beside(path) if path.endswith(".safetensors") else {}
    return _model({os.path.basename(path): path, **beside}, path, dtype)


def _model(files: dict[str, str], path: str, dtype: str) -> Model:
    if len(files) > wire.MAX_FRAME_FDS:
        raise errors.BadModel(f"{len(files)} files: at most {wire.MAX_FRAME_FDS} can be offered.")
    return Model(files, os.path.basename(path).removesuffix(".safetensors"), dtype)


def _files_beside(path: str) -> dict[str, str]:
    """Configuration and tokenizer in the folder of a single file, by name."""
    folder = os.path.dirname(path)
    beside = {name: os.path.join(folder, name) for name in _BESIDE_A_FILE}
    return {name: other for name, other in beside.items() if os.path.isfile(other)}


def _files_of_folder(folder: str) -> dict[str, str]:
    """Weights, configuration and tokenizer of a Hugging Face folder, by name."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise _unreadable(folder, error) from error
    wanted = [name for name in names if name.endswith(_SUFFIXES) or name in _NAMES]
    files = {name: os.path.join(folder, name) for name in wanted if not name.startswith(".")}
    refused = [name for name in names if name.endswith(_REFUSED)]
    if refused and not any(name.endswith(".safetensors") for name in files):
        raise errors.Unsupported(
            f"{folder} holds {refused[0]} and no .safetensors file.",
            "hearth reads safetensors only: pickled weights can run code, GGUF is not supported.",
        )
    if not files:
        raise errors.BadModel(
            f"{folder} holds no model.", "Expected config.json, a tokenizer and .safetensors files."
        )
    return files


def _unreadable(path: str, error: OSError) -> errors.HearthError:
    return errors.BadModel(f"{path} cannot be read: {(error.strerror or str(error)).lower()}.")
