"""Which commands there are. A line here and a file beside it make a command."""

from __future__ import annotations

from typing import NamedTuple

GROUPS = {
    "ask": "Ask a model",
    "models": "Models in memory",
    "files": "Models on disk",
    "watch": "See how it is doing",
    "wrong": "When something is wrong",
    "service": "Look after the service",
    "setup": "Set up",
}


class Command(NamedTuple):
    """Which of GROUPS, and the first line of the module's docstring: at most 62 characters."""

    group: str
    summary: str


COMMANDS = {
    "caption": Command("ask", "Describe pictures, each by an answer of its own."),
    "load": Command("models", "Load a model ahead of its first request."),
    "free": Command("models", "Have idle models leave the device for another program."),
    "fetch-model": Command("files", "Fetch a model from the Hugging Face hub."),
    "status": Command("watch", "Show how the service is doing."),
    "migrate": Command("setup", "Rewrite a workflow of another pack's Qwen nodes for hearth's."),
}
