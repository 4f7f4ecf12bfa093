"""Repositories of the hub whose models hearth serves, to choose from before anything is asked.

Sizes are what the repositories hold, rounded, so that a user can decide without a look-up; what is
fetched is the hub's own listing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ORIGIN = ".hearth-origin"  # file in a fetched folder: owner/name@commit

_NAME = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9_][\w.-]*")
_GB = 1_000_000_000
_SIZES = {  # repository: GB
    "Qwen/Qwen3-VL-2B-Instruct": 4.3,
    "Qwen/Qwen3-VL-2B-Thinking": 4.3,
    "Qwen/Qwen3-VL-4B-Instruct": 8.9,
    "Qwen/Qwen3-VL-4B-Thinking": 8.9,
    "Qwen/Qwen3-VL-8B-Instruct": 17.5,
    "Qwen/Qwen3-VL-8B-Thinking": 17.5,
    "Qwen/Qwen3-VL-32B-Instruct": 66.7,
    "Qwen/Qwen3-VL-32B-Thinking": 66.7,
    "Qwen/Qwen3-VL-30B-A3B-Instruct": 62.1,
    "Qwen/Qwen3-VL-30B-A3B-Thinking": 62.1,
    "Qwen/Qwen3-VL-235B-A22B-Instruct": 471.0,
    "Qwen/Qwen3-VL-2B-Instruct-FP8": 3.5,
    "Qwen/Qwen3-VL-4B-Instruct-FP8": 5.8,
    "Qwen/Qwen3-VL-8B-Instruct-FP8": 10.6,
    "Qwen/Qwen3-VL-32B-Instruct-FP8": 35.5,
    "Qwen/Qwen2.5-VL-3B-Instruct": 7.5,
    "Qwen/Qwen2.5-VL-7B-Instruct": 16.6,
    "Qwen/Qwen2.5-VL-32B-Instruct": 66.9,
    "Qwen/Qwen2.5-VL-72B-Instruct": 146.8,
    "Qwen/Qwen3-0.6B": 1.5,
    "Qwen/Qwen3-1.7B": 4.1,
    "Qwen/Qwen3-4B-Instruct-2507": 8.1,
    "Qwen/Qwen3-4B-Thinking-2507": 8.1,
    "Qwen/Qwen3-8B": 16.4,
    "Qwen/Qwen3-14B": 29.5,
    "Qwen/Qwen3-32B": 65.5,
    "Qwen/Qwen3-30B-A3B-Instruct-2507": 61.1,
    "Qwen/Qwen2.5-0.5B-Instruct": 1.0,
    "Qwen/Qwen2.5-1.5B-Instruct": 3.1,
    "Qwen/Qwen2.5-3B-Instruct": 6.2,
    "Qwen/Qwen2.5-7B-Instruct": 15.2,
    "Qwen/Qwen2.5-14B-Instruct": 29.5,
    "Qwen/Qwen2.5-32B-Instruct": 65.5,
}
_OTHER_LICENCES = {  # all others: Apache 2.0
    "Qwen/Qwen2.5-VL-3B-Instruct": "Qwen Research Licence",
    "Qwen/Qwen2.5-VL-72B-Instruct": "Qwen Licence",
    "Qwen/Qwen2.5-3B-Instruct": "Qwen Research Licence",
}


@dataclass(frozen=True)
class HubModel:
    """A repository, about how many bytes it holds, and its licence."""

    repository: str
    nbytes: int
    licence: str

    @property
    def name(self) -> str:
        """Without its owner: what the folder is called."""
        return self.repository.rpartition("/")[2]


KNOWN = {
    repository: HubModel(repository, int(size * _GB), _OTHER_LICENCES.get(repository, "Apache 2.0"))
    for repository, size in _SIZES.items()
}


def repository_for(name: str) -> str | None:
    """The listed repository with this name, with its owner or without; None for no such one."""
    if name in KNOWN:
        return name
    return next((model.repository for model in KNOWN.values() if model.name == name), None)


def is_repository(name: str) -> bool:
    """Whether this could be the name of a repository: owner/name."""
    return bool(_NAME.fullmatch(name)) and ".." not in name
