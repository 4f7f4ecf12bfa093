"""The one module that touches ComfyUI's own modules.

Every function looks its counterpart up when it is called and survives its absence: nodes run in
ComfyUI 0.3.64 and later, in an isolated child process where `PromptServer` may be a proxy, and in
tests without ComfyUI. Nothing is imported before it is needed: ComfyUI has loaded it by then.

Threads: call from the thread or event loop that runs the node.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import math
import os
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, Callable

from . import errors

Answer = tuple[int, str, bytes]  # status, content type, body
Answers = Callable[[], Awaitable[Answer]]

_ABSENT = (ImportError, AttributeError)
_EVERYTHING = 1e15  # bytes: unload_all_models asks for 1e30


def _lookup(module: str, path: str) -> Any:
    """`path` inside `module`, or None when this ComfyUI has no such thing."""
    try:
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except _ABSENT:
        return None
    return found


def v3() -> Any:
    """ComfyUI's `comfy_api.latest` where it has what the nodes need, else None.

    HEARTH_FORCE_V1=1 asks for the older node interface even where the newer one exists.
    """
    if os.environ.get("HEARTH_FORCE_V1") == "1":
        return None
    needed = (
        "ComfyExtension",
        "io.Schema",
        "io.ComfyNode",
        "io.NodeOutput",
        "io.AnyType",
        "io.Custom",
    )
    if any(_lookup("comfy_api.latest", path) is None for path in needed):
        return None
    return importlib.import_module("comfy_api.latest")


_interrupted: tuple[Any, type[BaseException]] | None = None  # the workflow, and how it was told


def raise_if_interrupted() -> None:
    """Raises ComfyUI's own exception when the user pressed cancel. ComfyUI tells it once, to who
    asks first, and then waits for the workflow's other nodes: so they are told here.

    That exception is an Exception in 0.3.64 and a BaseException in 0.33: let it pass.
    """
    global _interrupted
    check = _lookup("comfy.model_management", "throw_exception_if_processing_interrupted")
    if check is None:
        return
    if _interrupted is not None and _interrupted[0] == _running("prompt_id"):
        raise _interrupted[1]()
    try:
        check()
    except BaseException as told:
        workflow = _running("prompt_id")
        if workflow is not None:
            _interrupted = (workflow, type(told))
        raise


def _running(what: str) -> Any:
    """Of the node whose code is running: "prompt_id", which names the run of its workflow, or
    "node_id"; None where nothing tells."""
    context = _lookup("comfy_execution.utils", "get_executing_context")
    return getattr(context() if context is not None else None, what, None)


def interrupted() -> bool:
    """For calls that take such a question: raises as `raise_if_interrupted` does, else False."""
    raise_if_interrupted()
    return False


def node_id() -> str | None:
    """Id of the node whose code is running, as ComfyUI's own context tells it.

    Asking for the UNIQUE_ID input instead would make the id a part of the cache key, and equal
    nodes would no longer share their answer.
    """
    found = _running("node_id")
    if found is None:
        found = _lookup("server", "PromptServer.instance.last_node_id")
    return None if found is None else str(found)


def text_sender(node: str | None) -> Callable[[str], None]:
    """A function that shows its text on the node, in the browser that queued the workflow."""
    send = _lookup("server", "PromptServer.instance.send_progress_text")
    client = _lookup("server", "PromptServer.instance.client_id")
    if send is None or node is None or client is None:
        # Without a client ComfyUI would show the text in every open browser.
        return lambda text: None
    return lambda text: send(text, node, client)


def progress_bar(total: int, node: str | None) -> Callable[[int], None]:
    """A function that moves the node's progress bar to its argument, of `total`.

    It may raise ComfyUI's interrupt exception, as `raise_if_interrupted` does.
    """
    make = _lookup("comfy.utils", "ProgressBar")
    if make is None:
        return lambda value: None
    bar = make(total, node_id=node)
    return lambda value: bar.update_absolute(value)


def call_later(delay_s: float, act: Callable[[], None]) -> bool:
    """Has ComfyUI's own server loop call `act`, in that loop's thread. Returns whether it will:
    False where there is no such loop, in an isolated process or without ComfyUI.
    """
    loop = _lookup("server", "PromptServer.instance.loop")
    if loop is None:
        return False
    try:
        loop.call_soon_threadsafe(loop.call_later, delay_s, act)
    except (RuntimeError, *_ABSENT):  # closed, or a proxy that cannot pass a function on
        return False
    return True


def on_memory_wanted(give: Callable[[int, str], None]) -> None:
    """Has `give` called in the thread that runs nodes, whenever ComfyUI wants memory of a device
    and has freed what it could: with the bytes that are missing, or 0 for all there is, when the
    user asked it to unload its models; and with the kind of device, "cuda" or "cpu". Once a
    process; nothing where ComfyUI has no such function.
    """
    own = _lookup("comfy.model_management", "free_memory")
    if own is None or hasattr(own, "hearth"):
        return

    @functools.wraps(own)
    def free_memory(
        memory_required: Any, device: Any, keep_loaded: Any = (), *more: Any, **named: Any
    ) -> Any:
        unloaded = own(memory_required, device, keep_loaded, *more, **named)
        try:
            missing = _missing(memory_required, device, keep_loaded)
            if missing is not None:
                give(missing, device.type)
        except Exception:  # whatever it is, it is not ComfyUI's
            logging.exception("hearth: the service was not asked for memory")
        return unloaded

    free_memory.hearth = True  # type: ignore[attr-defined]
    with contextlib.suppress(*_ABSENT):
        importlib.import_module("comfy.model_management").free_memory = free_memory


def _missing(required: float, device: Any, keep_loaded: Any) -> int | None:
    """Bytes that ComfyUI still lacks, 0 for all there is, None where it lacks nothing. Everything
    but some models is how it parts with one of them: no wish for memory."""
    free_now = _lookup("comfy.model_management", "get_free_memory")
    if free_now is None or getattr(device, "type", None) is None:
        return None
    if required >= _EVERYTHING:
        return None if keep_loaded else 0
    missing = required - free_now(device)
    return math.ceil(missing) if missing > 0 else None


def model_folders(kind: str) -> list[Path]:
    """Folders that ComfyUI searches for models of this kind, extra_model_paths.yaml included."""
    known = _lookup("folder_paths", "folder_names_and_paths")
    if not known or kind not in known:
        return []
    paths = _lookup("folder_paths", "get_folder_paths")
    return [Path(path) for path in paths(kind)]


def model_kinds() -> list[str]:
    """The kinds of models that ComfyUI has folders for, those of other packs included."""
    return list(_lookup("folder_paths", "folder_names_and_paths") or ())


def tokenizer_folder() -> Path | None:
    """Folder of the Qwen2.5 tokenizer that ComfyUI brings along, where it does."""
    root = _lookup("comfy", "__path__")
    for path in root or ():
        folder = Path(path, "text_encoders", "qwen25_tokenizer")
        if folder.is_dir():
            return folder
    return None


def own_folder(kind: str) -> Path | None:
    """ComfyUI's folder `input` or `output`."""
    get = _lookup("folder_paths", f"get_{kind}_directory")
    return Path(get()) if get is not None else None


def installed_nodes() -> frozenset[str]:
    """The types of nodes that this ComfyUI has."""
    return frozenset(_lookup("nodes", "NODE_CLASS_MAPPINGS") or ())


def on_prompt(rewrite: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Has every workflow that is queued go through this function first, where ComfyUI can."""
    add = _lookup("server", "PromptServer.instance.add_on_prompt_handler")
    if add is not None:
        add(rewrite)


def serve(answers: Mapping[str, Answers]) -> None:
    """Has ComfyUI's server answer requests for these paths, to browsers that show its own pages.

    Call while packs are loaded: the server takes its routes from the table afterwards. Nothing in
    an isolated process or without ComfyUI; a path that is taken stays whose it is.
    """
    routes = _lookup("server", "PromptServer.instance.routes")
    web = _lookup("aiohttp", "web") if routes is not None else None
    if web is None or not isinstance(routes, web.RouteTableDef):
        return
    taken = {getattr(route, "path", None) for route in routes}
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self';"
        " connect-src 'self'; img-src data:; frame-ancestors 'self'",
        "X-Content-Type-Options": "nosniff",
    }

    def handler(answer: Answers) -> Callable[[Any], Awaitable[Any]]:
        async def handle(request: Any) -> Any:
            status, kind, body = await answer()
            return web.Response(
                status=status, body=body, content_type=kind, charset="utf-8", headers=headers
            )

        return handle

    for path, answer in answers.items():
        if path not in taken:
            routes.get(path)(handler(answer))


async def register_replacement(**replacement: Any) -> None:
    """Tells ComfyUI that a node of ours takes the place of a missing one; versions before 0.33
    know no such thing."""
    make = _lookup("comfy_api.latest", "io.NodeReplace")
    api = _lookup("comfy_api.latest", "ComfyAPI")
    replacing = getattr(api(), "node_replacement", None) if make and api else None
    if replacing is not None:
        await replacing.register(make(**replacement))


def language_clip(tokenizer: Any, generator: Any) -> Any:
    """ComfyUI's own CLIP around these two, which do its work. It has no weights, and its device is
    the CPU, so that nothing of ComfyUI's makes room for it.

    generator: generate(tokens, **sampling) and encode_token_weights(tokens)
    Raises Unsupported where CLIPs cannot generate.
    """
    made = _lookup("comfy.sd", "CLIP")
    patcher = _lookup("comfy.model_patcher", "ModelPatcher")
    if made is None or patcher is None or not hasattr(made, "generate"):
        raise errors.Unsupported(
            "This ComfyUI has no node that generates text with a CLIP.",
            "Use Qwen-VL (Hearth), or a ComfyUI from 0.15.",
        )
    import torch

    class LanguageModel(torch.nn.Module):  # type: ignore[misc]
        """As much of a text encoder as CLIP touches."""

        dtypes = {torch.float32}

        def reset_clip_options(self) -> None:
            pass

        def set_clip_options(self, options: dict[str, Any]) -> None:
            pass

        def generate(self, tokens: Any, **sampling: Any) -> Any:
            return generator.generate(tokens, **sampling)

        def encode_token_weights(self, tokens: Any) -> Any:
            return generator.encode_token_weights(tokens)

    class Patcher(patcher):  # type: ignore[misc, valid-type]
        """Of a byte, none of it loaded: a size of 0 would be looked for again and again."""

        def model_size(self) -> int:
            return 1

        def loaded_size(self) -> int:
            return 0

    cpu = torch.device("cpu")
    clip = made(no_init=True)
    clip.cond_stage_model = LanguageModel()
    clip.tokenizer = tokenizer
    clip.patcher = Patcher(clip.cond_stage_model, load_device=cpu, offload_device=cpu)
    clip.patcher.is_clip = True
    clip.layer_idx, clip.use_clip_schedule = None, False
    clip.tokenizer_options, clip.apply_hooks_to_conds = {}, None
    return clip
