"""Pictures of every kind that callers have, and their way into shared memory as u8.

torch tensors, numpy arrays and plain buffers (memoryview) are known by what they look like: this
module imports neither torch nor numpy before it has seen one of theirs. Values of a float picture
run from 0 to 1 and become 0 to 255, rounded half to even and clamped. Conversion goes piece by
piece through a scratch that fits the cache, so that no private copy of the whole is made.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator, Sequence
from typing import Any

from . import errors
from .slots import aligned

_PIECE_ITEMS = 128 * 1024  # f32 values converted at a time: 512 KiB stay in the L2 cache
# 2^23 + x is a float without room for a fraction: the addition rounds half to even and leaves the
# integer, for 0 <= x <= 255, in the lowest byte. torch turns integers into bytes three times as
# fast as floats.
_ROUNDING = float(1 << 23)
_DTYPES = {
    "uint8": "u8", "int8": "i8", "int16": "i16", "int32": "i32", "int64": "i64",
    "float16": "f16", "bfloat16": "bf16", "float32": "f32", "float64": "f64", "bool": "bool",
    "float8_e4m3fn": "f8e4m3", "float8_e5m2": "f8e5m2",
}  # fmt: skip
_PICTURE_DTYPES = ("uint8", "float16", "bfloat16", "float32", "float64")


def is_tensor(value: object) -> bool:
    """Whether Pixels can be made of it: a torch tensor, a numpy array or a memoryview."""
    return _package(value) is not None


def _package(value: object) -> str | None:
    """torch, numpy or buffer."""
    for base in type(value).__mro__:
        if (base.__module__, base.__name__) == ("numpy", "ndarray"):
            return "numpy"
        if base.__name__ == "Tensor" and base.__module__.partition(".")[0] == "torch":
            return "torch"
    return "buffer" if isinstance(value, memoryview) else None


def _dtype_of(source: Any) -> str:
    """float32, uint8, …: what torch and numpy both call it."""
    if isinstance(source, memoryview):
        return "uint8" if source.format == "B" else f"buffer of format {source.format!r}"
    return str(source.dtype).rpartition(".")[2]


class Pixels:
    """Pictures, or one video, that are not in shared memory yet.

    `shape` is [count, height, width, channels]; `name` says in errors which input it was.
    """

    __slots__ = ("name", "shape", "is_video", "_package", "_source", "_picked")

    def __init__(self, source: Any, name: str, is_video: bool = False) -> None:
        """Raises BadPicture when `source` cannot be pictures."""
        package = _package(source)
        assert package is not None
        dtype = _dtype_of(source)
        if dtype not in _PICTURE_DTYPES:
            raise errors.BadPicture(
                f"{name} is of type {dtype}.",
                f"Use one of {', '.join(_PICTURE_DTYPES)}; floats run from 0 to 1.",
            )
        self.name = name
        self.is_video = is_video
        self.shape = _four_dimensions([int(size) for size in source.shape], name, is_video)
        self._package = package
        self._source = _as_four_dimensions(source, package, name)
        self._picked: Sequence[int] = range(self.shape[0])

    def pick(self, indices: Sequence[int]) -> None:
        """Keeps these pictures or frames only."""
        self._picked = indices
        self.shape = [len(indices), *self.shape[1:]]

    @property
    def tensors(self) -> int:
        """How many tensors it becomes: one a picture, one a video."""
        return 1 if self.is_video else self.shape[0]

    @property
    def tensor_shape(self) -> list[int]:
        """[height, width, channels], or [frames, height, width, channels] of a video."""
        return self.shape if self.is_video else self.shape[1:]

    @property
    def tensor_bytes(self) -> int:
        """Bytes of each tensor."""
        return math.prod(self.tensor_shape)

    @property
    def nbytes(self) -> int:
        """Room that all of them need in a slot, each beginning at an aligned offset."""
        return self.tensors * aligned(self.tensor_bytes)

    def offsets(self, begin: int) -> list[int]:
        """Where each tensor lies when the first one lies at `begin`."""
        return [begin + index * aligned(self.tensor_bytes) for index in range(self.tensors)]

    def write(self, memory: mmap.mmap, begin: int) -> Iterator[None]:
        """Copies everything to `memory`, pausing after each picture or frame.

        Raises BadPicture, naming the picture, when a value is NaN or infinite.
        """
        count, *picture = self.shape
        step = math.prod(picture) if self.is_video else aligned(self.tensor_bytes)
        write = _WRITERS[self._package]
        for index in range(count):
            name = f"{self.name}[{index}]" if count > 1 else self.name
            write(self._source[self._picked[index]], memory, begin + index * step, name)
            yield


def _four_dimensions(shape: list[int], name: str, is_video: bool) -> list[int]:
    """[count, height, width, channels] for what a caller may mean."""
    if len(shape) not in ((4,) if is_video else (2, 3, 4)):
        wanted = "[height, width], [height, width, channels] or [batch, height, width, channels]"
        wanted = "[frames, height, width, channels]" if is_video else wanted
        raise errors.BadPicture(f"{name} has the shape {shape}.", f"Use {wanted}.")
    full = {2: [1, *shape, 1], 3: [1, *shape], 4: shape}[len(shape)]
    if 0 in full:
        raise errors.BadPicture(f"{name} is empty: its shape is {shape}.")
    if full[3] not in (1, 3, 4):
        hint = "Channels come last, and there are 1, 3 or 4 of them."
        raise errors.BadPicture(f"{name} has the shape {shape}: {full[3]} channels.", hint)
    return full


def _as_four_dimensions(source: Any, package: str, name: str) -> Any:
    """The same memory, indexed by picture; strides may be anything."""
    if package == "buffer":
        return _Rows(source, name)
    if package == "torch":
        source = source.detach()
    if len(source.shape) == 2:
        source = source[:, :, None]
    return source[None] if len(source.shape) == 3 else source


class _Rows:
    """A dense buffer that gives its pictures as flat bytes: memoryview cannot slice dimensions."""

    def __init__(self, source: memoryview, name: str) -> None:
        if not source.c_contiguous:
            raise errors.BadPicture(f"{name} is a buffer with gaps.", "Copy it into a dense one.")
        self._bytes = source.cast("B")
        pictures = len(source) if source.ndim == 4 else 1
        self._picture_bytes = source.nbytes // pictures

    def __getitem__(self, index: int) -> memoryview:
        return self._bytes[index * self._picture_bytes : (index + 1) * self._picture_bytes]


def _write_buffer(source: memoryview, memory: mmap.mmap, offset: int, name: str) -> None:
    memory[offset : offset + source.nbytes] = source


def _write_torch(source: Any, memory: mmap.mmap, offset: int, name: str) -> None:
    """`source` [height, width, channels], any strides and device, to dense u8 at `offset`."""
    import torch

    height, width, channels = source.shape
    flat = torch.frombuffer(memory, dtype=torch.uint8, count=source.numel(), offset=offset)
    target = flat.view(height, width, channels)
    if source.dtype == torch.uint8:
        target.copy_(source)
        return
    rows = max(1, _PIECE_ITEMS // (width * channels))
    scratch = torch.empty(
        (min(rows, height), width, channels), dtype=torch.float32, device=source.device
    )
    for top in range(0, height, rows):
        piece = source[top : top + rows]
        work = scratch[: len(piece)]
        if piece.dtype == torch.float32:
            torch.mul(piece, 255.0, out=work)
        else:
            work.copy_(piece).mul_(255.0)  # f16 and bf16 would round the product
        # A sum is the cheapest question that NaN and infinity cannot escape. Large finite values
        # may overflow it, so the slow answer decides.
        if not math.isfinite(work.sum().item()) and not torch.isfinite(piece).all().item():
            raise _not_finite(name)
        work.clamp_(0.0, 255.0).add_(_ROUNDING)
        target[top : top + rows].copy_(work.view(torch.int32))


def _write_numpy(source: Any, memory: mmap.mmap, offset: int, name: str) -> None:
    """As _write_torch."""
    import numpy

    height, width, channels = source.shape
    flat = numpy.frombuffer(memory, numpy.uint8, source.size, offset)
    target = flat.reshape(height, width, channels)
    if source.dtype == numpy.uint8:
        target[...] = source
        return
    rows = max(1, _PIECE_ITEMS // (width * channels))
    scratch = numpy.empty((min(rows, height), width, channels), numpy.float32)
    with numpy.errstate(over="ignore", invalid="ignore"):
        for top in range(0, height, rows):
            piece = source[top : top + rows]
            work = scratch[: len(piece)]
            numpy.multiply(piece, numpy.float32(255), out=work, casting="unsafe", dtype="f4")
            if not math.isfinite(work.sum()) and not numpy.isfinite(piece).all():
                raise _not_finite(name)
            numpy.clip(numpy.rint(work, out=work), 0.0, 255.0, out=work)
            numpy.copyto(target[top : top + rows], work, casting="unsafe")


def _not_finite(name: str) -> errors.HearthError:
    return errors.BadPicture(
        f"{name} contains NaN or infinite values.",
        "Look at the node or program that made it; there is nothing to see in such a picture.",
    )


_WRITERS = {"torch": _write_torch, "numpy": _write_numpy, "buffer": _write_buffer}


def copy_raw(source: Any, memory: mmap.mmap, offset: int) -> tuple[str, list[int]]:
    """Copies a torch tensor or numpy array as it is, densely, and returns its dtype and shape.

    The dtype is a name of the contract ("bf16", "f32", …). Raises BadTensor for one it lacks.
    """
    dtype, package = _DTYPES.get(_dtype_of(source)), _package(source)
    if dtype is None or package not in ("torch", "numpy"):
        raise errors.BadTensor(f"A tensor of type {_dtype_of(source)} cannot be sent.")
    shape = [int(size) for size in source.shape]
    count = math.prod(shape)
    if count and package == "torch":
        import torch

        flat = torch.frombuffer(memory, dtype=source.dtype, count=count, offset=offset)
        flat.view(shape).copy_(source.detach())
    elif count:
        import numpy

        numpy.frombuffer(memory, source.dtype, count, offset).reshape(shape)[...] = source
    return dtype, shape
