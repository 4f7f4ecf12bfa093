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
    "bench": Command("ask", "Measure latency and throughput of the running service."),
    "ps": Command("models", "List the models that the service knows."),
    "load": Command("models", "Load a model ahead of its first request."),
    "unload": Command("models", "Have a model leave the device."),
    "evict": Command("models", "Have a model leave the device, its weights kept warm or not."),
    "free": Command("models", "Have idle models leave the device for another program."),
    "pin": Command("models", "Keep a model on the device."),
    "unpin": Command("models", "Let a pinned model leave the device again."),
    "fetch-model": Command("files", "Fetch a model from the Hugging Face hub."),
    "verify": Command("files", "Check that a model's files are whole and what they should be."),
    "status": Command("watch", "Show how the service is doing, on one screen."),
    "top": Command("watch", "Watch clients, requests and devices at work."),
    "jobs": Command("watch", "Show what is at work and what waits, or cancel it."),
    "clients": Command("watch", "Show who is connected, or end a connection."),
    "metrics": Command("watch", "Print the service's metrics, or watch them change."),
    "explain": Command("wrong", "Say why a request was slow, compared with others like it."),
    "trace": Command("wrong", "Write requests as a trace for ui.perfetto.dev."),
    "doctor": Command("wrong", "Find out what is wrong with this machine or the service."),
    "logs": Command("wrong", "Show what the service wrote to its log."),
    "quarantine": Command("wrong", "Show models that are refused because they ended the engine."),
    "selftest": Command("wrong", "Prove that hearth works here, without a GPU or a model."),
    "up": Command("service", "Start the service in the background."),
    "down": Command("service", "Drain the service and end it."),
    "drain": Command("service", "Take no new requests and let the open ones end."),
    "upgrade": Command("service", "Have the installed program take over, clients connected."),
    "suspend": Command("service", "Release the device before the machine sleeps."),
    "resume": Command("service", "Take requests again after drain or suspend."),
    "config": Command("service", "Show, check and reload the service's settings."),
    "install-nodes": Command("setup", "Put hearth's nodes into a ComfyUI, or take them out."),
    "migrate": Command("setup", "Rewrite a workflow of another pack's Qwen nodes for hearth's."),
    "completion": Command("setup", "Print the completions of a shell."),
    "setup": Command("setup", "Fetch libtorch, with which the engine computes."),
}
