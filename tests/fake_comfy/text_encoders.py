"""CLIP and the node that generates text with one, as two ComfyUI versions have them: 0.3.64 knows
no generation."""

from __future__ import annotations

from typing import Any


class ModelPatcher:
    """`comfy.model_patcher.ModelPatcher`, as far as a model without weights needs it."""

    def __init__(self, model: Any, load_device: Any, offload_device: Any) -> None:
        self.model, self.load_device, self.offload_device = model, load_device, offload_device


class OlderCLIP:
    """`comfy.sd.CLIP` with `no_init`: whoever makes one gives it all it has."""

    def __init__(self, no_init: bool = False) -> None:
        assert no_init

    def tokenize(self, text: str, return_word_ids: bool = False, **options: Any) -> Any:
        return self.tokenizer.tokenize_with_weights(text, return_word_ids, **options)  # type: ignore[attr-defined]

    def encode_from_tokens_scheduled(self, tokens: Any) -> Any:
        self.cond_stage_model.reset_clip_options()  # type: ignore[attr-defined]
        return self.cond_stage_model.encode_token_weights(tokens)  # type: ignore[attr-defined]


class CLIP(OlderCLIP):
    def generate(self, tokens: Any, **sampling: Any) -> Any:
        model = self.cond_stage_model  # type: ignore[attr-defined]
        model.reset_clip_options()
        assert self.patcher.model_size() > 0  # type: ignore[attr-defined]
        model.set_clip_options({"layer": None})
        return model.generate(tokens, **sampling)

    def decode(self, ids: Any, skip_special_tokens: bool = True) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=skip_special_tokens)  # type: ignore[attr-defined, no-any-return]


class PrimitiveStringMultiline:
    RETURN_TYPES, FUNCTION = ("STRING",), "give"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"value": ("STRING", {"multiline": True})}}

    def give(self, value: str) -> tuple[str]:
        return (value,)


class CLIPTextEncode:
    RETURN_TYPES, FUNCTION = ("CONDITIONING",), "encode"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"clip": ("CLIP", {}), "text": ("STRING", {})}}

    def encode(self, clip: Any, text: str) -> tuple[Any]:
        return (clip.encode_from_tokens_scheduled(clip.tokenize(text)),)


class TextGenerate:
    """Nested inputs come by dotted names, as a browser queues them; those left out are None."""

    RETURN_TYPES, FUNCTION = ("STRING",), "generate"
    OPTIONAL = ("image", "video", "audio")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        length = ("INT", {"default": 512, "min": 1, "max": 32768})
        mode = ("STRING", {})
        required = {"clip": ("CLIP", {}), "prompt": ("STRING", {})}
        pictures = {"image": ("IMAGE", {}), "video": ("IMAGE", {}), "audio": ("AUDIO", {})}
        return {
            "required": {**required, "max_length": length, "sampling_mode": mode},
            "optional": pictures,
        }

    def generate(self, **given: Any) -> tuple[str]:
        clip, prompt, length = (given.pop(name) for name in ("clip", "prompt", "max_length"))
        sampling = {"do_sample": given.pop("sampling_mode") == "on", "presence_penalty": None}
        template = given.pop("use_default_template", True)
        thinking = given.pop("thinking", False)
        shown = {name: given.pop(name, None) for name in self.OPTIONAL}
        sampling |= {name.partition(".")[2]: value for name, value in given.items()}
        tokens = clip.tokenize(
            prompt, skip_template=not template, min_length=1, thinking=thinking, **shown
        )
        return (clip.decode(clip.generate(tokens, max_length=length, **sampling)),)


def nodes_of(version: str) -> dict[str, type]:
    """The nodes by their names in that version."""
    found = [PrimitiveStringMultiline, CLIPTextEncode]
    return {cls.__name__: cls for cls in (*found, *([TextGenerate] if version != "0.3.64" else []))}


def modules_of(version: str) -> dict[str, dict[str, Any]]:
    """`comfy.sd` and `comfy.model_patcher`."""
    made = OlderCLIP if version == "0.3.64" else CLIP
    return {"comfy.sd": {"CLIP": made}, "comfy.model_patcher": {"ModelPatcher": ModelPatcher}}
