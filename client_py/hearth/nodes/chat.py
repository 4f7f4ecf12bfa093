"""*Chat (Hearth)*: a conversation over several turns, by sockets or by a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import comfy_api, errors
from . import _conversations as conversations
from . import _models as models
from ._answer import show
from ._pictures import SOCKETS, Part, Question
from ._question_inputs import history_input, picture_inputs
from ._questions import ask, warnings_of, with_notes
from ._sampling import sampling_of, seed_input, thinking_inputs
from ._schema import Input, Node, Output, Shown, from_contract

if TYPE_CHECKING:
    from ..aio import AsyncClient


async def run(**inputs: Any) -> Shown:
    """One more turn."""
    message, name = inputs["message"], inputs["conversation"].strip()
    if not message.strip():
        raise errors.BadRequest("message is empty.", "Write what you want to say.")
    async with conversations.turn_of(name):
        return await _turn(message, name, inputs)


async def _turn(message: str, name: str, inputs: dict[str, Any]) -> Shown:
    before = _before(inputs.get("history"), name, bool(inputs["reset"]))
    before = before.shortened(int(inputs["max_turns"]) - 1)
    async with models.lent(models.picked(inputs)) as lent:
        question = Question((*await _pictures(lent.service, inputs), Part("message", message)))
        sampling = sampling_of(inputs)
        chats, replies = await ask(lent, [question], sampling, before, inputs["system_prompt"])
    text = replies[0].text
    now = conversations.answered(chats[0], text)
    if name:
        conversations.keep(name, now)
    shown = with_notes(now.transcript(), warnings_of(lent, replies))
    show(shown)
    return Shown((text, now, now.transcript(), replies[0].thinking), shown)


def _before(history: Any, name: str, reset: bool) -> conversations.Conversation:
    """What is connected counts; else what was said under the name."""
    if reset:
        return conversations.Conversation()
    if history is None and name:
        return conversations.kept(name)
    return conversations.given(history)


async def _pictures(service: AsyncClient, inputs: dict[str, Any]) -> list[Part]:
    """Each picture is put into shared memory once, however many turns speak of it."""
    return [
        Part(name, await service.put(inputs[name], interrupted=comfy_api.interrupted))
        for name in SOCKETS
        if inputs.get(name) is not None
    ]


def fingerprint(conversation: Any = None, **_constants: Any) -> Any:
    """A conversation that is kept goes on with every run: nothing of it comes from the cache. None:
    its name comes by a link, and is not known yet."""
    return float("nan") if conversation is None or str(conversation).strip() else ""


NODE = Node(
    node_id="HearthChat",
    display_name="Chat (Hearth)",
    category="Hearth/text",
    description="A conversation with a model. Connect history to history for a chain of turns, or"
    " give the conversation a name: then every run of this node is one more turn of it.",
    inputs=(
        *picture_inputs(4, "A batch is several pictures of one message."),
        history_input(),
        models.llm_input(),
        models.model_input(),
        Input(
            "message",
            "STRING",
            "What you say now.",
            {"default": "", "multiline": True, "placeholder": "Your message"},
        ),
        Input(
            "system_prompt",
            "STRING",
            "Who the model shall be. Empty: as before in this conversation.",
            {"default": "", "multiline": True, "placeholder": "System prompt"},
        ),
        Input(
            "conversation",
            "STRING",
            "A name keeps the conversation until ComfyUI ends: each run is one more turn. Empty:"
            " only what comes in by history was said before.",
            {"default": ""},
        ),
        Input(
            "reset",
            "BOOLEAN",
            "Forget what was said before and begin anew.",
            {"default": False},
        ),
        Input(
            "max_turns",
            "INT",
            "Questions with their answers that the model is shown, this one included: the oldest"
            " are forgotten first.",
            {"default": 20, "min": 1, "max": 500},
        ),
        from_contract("max_tokens", "INT"),
        from_contract("temperature", "FLOAT"),
        seed_input(),
        models.keep_loaded_input(),
        models.precision_input(),
        *thinking_inputs(),
        models.download_input(),
    ),
    outputs=(
        Output("text", "STRING", "The answer, and nothing but the answer."),
        Output("history", conversations.CHAT, "The conversation with this answer."),
        Output("transcript", "STRING", "The whole conversation as text."),
        Output("thinking", "STRING", "What the model thought before it answered."),
    ),
    run=run,
    validate=models.validate,
    fingerprint=fingerprint,
    search_aliases=("conversation", "multi-turn", "llm", "assistant", "talk"),
)
