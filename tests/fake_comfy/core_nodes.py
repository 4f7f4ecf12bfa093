"""The few nodes of ComfyUI itself that workflows in the tests use, with its names and inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image

from .api import ANY


def core_nodes(input_folder: Path) -> dict[str, type]:
    class LoadImage:
        RETURN_TYPES, FUNCTION = ("IMAGE", "MASK"), "load_image"

        @classmethod
        def INPUT_TYPES(cls) -> dict[str, Any]:
            names = sorted(path.name for path in input_folder.iterdir())
            return {"required": {"image": (names, {"image_upload": True})}}

        def load_image(self, image: str) -> tuple[torch.Tensor, torch.Tensor]:
            pixels = numpy.asarray(
                Image.open(input_folder / image).convert("RGB"), dtype=numpy.float32
            )
            picture = torch.from_numpy(pixels / 255.0)[None]  # [1, height, width, 3]
            return picture, torch.zeros(picture.shape[:3])

    others = (
        EmptyImage,
        ImageBatch,
        ImageCompositeMasked,
        MaskToImage,
        PreviewAny,
        PreviewImage,
        RebatchImages,
        SolidMask,
    )
    return {cls.__name__: cls for cls in (LoadImage, *others)}


class EmptyImage:
    RETURN_TYPES, FUNCTION = ("IMAGE",), "generate"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        size = ("INT", {"default": 512, "min": 1, "max": 16384})
        colour = ("INT", {"default": 0, "min": 0, "max": 0xFFFFFF})
        return {"required": {"width": size, "height": size, "batch_size": size, "color": colour}}

    def generate(self, width: int, height: int, batch_size: int, color: int) -> tuple[torch.Tensor]:
        channels = [((color >> shift) & 255) / 255 for shift in (16, 8, 0)]
        return (torch.tensor(channels).expand(batch_size, height, width, 3).clone(),)


class ImageBatch:
    RETURN_TYPES, FUNCTION = ("IMAGE",), "batch"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"image1": ("IMAGE", {}), "image2": ("IMAGE", {})}}

    def batch(self, image1: torch.Tensor, image2: torch.Tensor) -> tuple[torch.Tensor]:
        return (torch.cat((image1, image2)),)


class RebatchImages:
    RETURN_TYPES, FUNCTION, OUTPUT_IS_LIST = ("IMAGE",), "rebatch", (True,)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        size = ("INT", {"default": 1, "min": 1, "max": 4096})
        return {"required": {"images": ("IMAGE", {}), "batch_size": size}}

    def rebatch(self, images: torch.Tensor, batch_size: int) -> tuple[list[torch.Tensor]]:
        return (list(images.split(batch_size)),)


class ImageCompositeMasked:
    RETURN_TYPES, FUNCTION = ("IMAGE",), "composite"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        corner = ("INT", {"default": 0, "min": 0, "max": 16384})
        pictures = {"destination": ("IMAGE", {}), "source": ("IMAGE", {})}
        places = {"x": corner, "y": corner, "resize_source": ("BOOLEAN", {"default": False})}
        return {"required": {**pictures, **places}, "optional": {"mask": ("MASK", {})}}

    def composite(
        self, destination: torch.Tensor, source: torch.Tensor, x: int, y: int, resize_source: bool
    ) -> tuple[torch.Tensor]:
        picture = destination.clone()
        picture[:, y : y + source.shape[1], x : x + source.shape[2]] = source
        return (picture,)


class PreviewAny:
    RETURN_TYPES, FUNCTION = ("STRING",), "main"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"source": (ANY, {})}}

    def main(self, source: Any) -> dict[str, Any]:
        return {"ui": {"text": (str(source),)}, "result": (str(source),)}


class MaskToImage:
    RETURN_TYPES, FUNCTION = ("IMAGE",), "mask_to_image"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"mask": ("MASK", {})}}

    def mask_to_image(self, mask: torch.Tensor) -> tuple[torch.Tensor]:
        return (mask[..., None].expand(-1, -1, -1, 3),)


class PreviewImage:
    RETURN_TYPES, FUNCTION = (), "preview"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"images": ("IMAGE", {})}}

    def preview(self, images: torch.Tensor) -> dict[str, Any]:
        return {"ui": {"images": [list(picture.shape) for picture in images]}}


class SolidMask:
    RETURN_TYPES, FUNCTION = ("MASK",), "solid"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        size = ("INT", {"default": 512, "min": 1, "max": 16384})
        value = ("FLOAT", {"default": 1.0, "min": 0.0, "max": 1.0})
        return {"required": {"value": value, "width": size, "height": size}}

    def solid(self, value: float, width: int, height: int) -> tuple[torch.Tensor]:
        return (torch.full((1, height, width), value),)
