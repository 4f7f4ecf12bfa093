"""What tests of nodes need beside a ComfyUI and a scripted service."""

import sys
from pathlib import Path

import server as scripted
from hearth import messages

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS / "comfy")]

from fake_comfy import FakeComfy  # noqa: E402, F401


def make(kind, **inputs):
    """A node of a workflow; one that asks has what is always required."""
    asking = {
        "model": "ember",
        "max_tokens": 64,
        "temperature": 0.5,
        "seed": 7,
        "keep_loaded": True,
    }
    usual = {
        "HearthQwenVLAdvanced": {**asking, "preset_prompt": "Describe", "custom_prompt": "What?",
                                 "system_prompt": ""},
        "HearthPromptEnhancer": {**asking, "prompt": "a cat", "style": "Photograph",
                                 "language": "as the prompt", "instruction": ""},
        "HearthChat": {**asking, "message": "Hello", "system_prompt": "", "conversation": "",
                       "reset": False, "max_turns": 20},
        "HearthBatchCaption": {**asking, "folder": "", "preset_prompt": "Describe",
                               "custom_prompt": "", "prefix": "", "suffix": "", "existing": "skip",
                               "recursive": False},
        "HearthFindObjects": {**asking, "what": "every cat"},
        "HearthModel": {"model": "ember", "keep_loaded": True},
        "HearthTokenEstimate": {"model": "ember", "preset_prompt": "Describe", "max_tokens": 64,
                                "custom_prompt": "What?", "system_prompt": ""},
        "HearthUnload": {"model": "all idle models"},
    }  # fmt: skip
    return {"class_type": kind, "inputs": {**usual.get(kind, {}), **inputs}}


def give(comfy, name, value, kind="IMAGE"):
    """A node that gives this value."""

    class Source:
        RETURN_TYPES, FUNCTION = (kind,), "give"

        @classmethod
        def INPUT_TYPES(cls):
            return {"required": {}}

        def give(self):
            return (value,)

    comfy.nodes[name] = Source
    return {"class_type": name, "inputs": {}}


def outputs(comfy, workflow, node, count):
    """Runs the workflow; the values of this node's first `count` outputs."""
    taken = {}

    class Sink:
        RETURN_TYPES, FUNCTION = (), "take"

        @classmethod
        def INPUT_TYPES(cls):
            any_kind = type("Any", (str,), {"__ne__": lambda self, other: False})("*")
            return {"required": {f"v{slot}": (any_kind, {}) for slot in range(count)}}

        def take(self, **values):
            for name, value in values.items():
                taken.setdefault(int(name[1:]), []).append(value)
            return ()

    comfy.nodes["Sink"] = Sink
    links = {f"v{slot}": [node, slot] for slot in range(count)}
    outcome = comfy.run({**workflow, "sink": {"class_type": "Sink", "inputs": links}})
    return outcome, [taken.get(slot, []) for slot in range(count)]


def asked(service):
    """The generate requests, in order."""
    return [one for peer in service.peers for one in peer.messages_of(messages.Generate)]


def seen(width=64, height=32, scale=1, **more):
    """A picture as the model saw it."""
    sizes = {"seen_width": width * scale, "seen_height": height * scale}
    return messages.SeenPicture(width=width, height=height, **sizes, tokens=4, **more)


def says(*texts, **fields):
    """A handler that answers one request after the other with these texts, the last one again."""
    left = list(texts)

    def handler(peer, frame, _request):
        text = left.pop(0) if len(left) > 1 else left[0]
        peer.send(scripted.generated(text, **fields), frame.request_id)

    return handler
