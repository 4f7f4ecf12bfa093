"""Pictures on their way to u8 in shared memory."""

import math
import mmap
import random

import numpy
import pytest
import torch

from hearth import errors
from hearth.tensors import Pixels, copy_raw, is_tensor

BEGIN = 4096


def written(source, is_video=False, name="picture"):
    """The u8 pictures that `source` becomes, as one numpy array each."""
    pixels = Pixels(source, name, is_video)
    memory = mmap.mmap(-1, BEGIN + pixels.nbytes + 64)
    memory[:] = b"\xaa" * len(memory)
    for _ in pixels.write(memory, BEGIN):
        pass
    assert memory[:BEGIN] == b"\xaa" * BEGIN
    assert memory[BEGIN + pixels.nbytes :] == b"\xaa" * 64, "wrote beyond its slot"
    assert all(offset % 64 == 0 for offset in pixels.offsets(BEGIN))
    return [
        numpy.frombuffer(memory, numpy.uint8, pixels.tensor_bytes, offset).reshape(
            pixels.tensor_shape
        )
        for offset in pixels.offsets(BEGIN)
    ]


def reference(picture):
    """numpy's answer, in one step."""
    with numpy.errstate(over="ignore"):
        scaled = numpy.asarray(picture, numpy.float32) * numpy.float32(255)
    return numpy.clip(numpy.rint(scaled), 0, 255).astype(numpy.uint8)


def both(array):
    """The same values as numpy array and torch tensor."""
    return [array, torch.from_numpy(array)]


def all_values_and_halves():
    """Every k/255, every (k + 0.5)/255, their neighbours, and what lies outside 0..1."""
    exact = numpy.arange(256, dtype=numpy.float32) / numpy.float32(255)
    halves = (numpy.arange(256, dtype=numpy.float32) + numpy.float32(0.5)) / numpy.float32(255)
    near = [numpy.nextafter(halves, numpy.float32(bound)) for bound in (0, 1)]
    outside = numpy.array([-1, -1e-6, -0.0, 1.0001, 2, 1e30, -1e30, 3e38], numpy.float32)
    return numpy.concatenate([exact, halves, *near, outside]).astype(numpy.float32)


@pytest.mark.parametrize("kind", [0, 1], ids=["numpy", "torch"])
def test_values_are_rounded_half_to_even_and_clamped(kind):
    values = all_values_and_halves()
    (got,) = written(both(values.reshape(1, -1, 1))[kind])
    assert numpy.array_equal(got, reference(values.reshape(1, -1, 1)))
    assert numpy.array_equal(got.ravel()[:256], numpy.arange(256)), "k/255 is k"


@pytest.mark.parametrize("shape", [(1, 1, 3), (37, 53, 3), (700, 811, 3), (2, 300_000, 1)])
def test_large_pictures_are_whole_though_converted_piece_by_piece(shape):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    picture = numpy.random.default_rng(seed).random(shape, numpy.float32)
    for source in both(picture):
        (got,) = written(source)
        assert numpy.array_equal(got, reference(picture))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_are_scaled_in_f32(dtype):
    picture = torch.rand(64, 65, 3).to(dtype)
    (got,) = written(picture)
    assert numpy.array_equal(got, reference(picture.float().numpy()))


@pytest.mark.parametrize("dtype", [numpy.float16, numpy.float64])
def test_numpy_s_other_float_types_are_scaled_in_f32(dtype):
    picture = numpy.random.default_rng(1).random((64, 65, 3)).astype(dtype)
    (got,) = written(picture)
    assert numpy.array_equal(got, reference(picture.astype(numpy.float32)))


def test_u8_is_copied_as_it_is():
    picture = numpy.random.default_rng(2).integers(0, 256, (31, 17, 4), numpy.uint8)
    for source in [*both(picture), memoryview(picture)]:
        assert numpy.array_equal(written(source)[0], picture)


def strided_views(array):
    """The same picture behind many strides, with the dense picture each shows."""
    yield array[::2, 1::3]
    yield array[::-1]
    yield array[5:40, 7:21]
    yield array.transpose(1, 0, 2)
    yield array[:, :, ::-1]
    yield numpy.broadcast_to(array[:1], array.shape)


@pytest.mark.parametrize("dtype", [numpy.float32, numpy.uint8])
def test_strides_are_walked(dtype):
    rng = numpy.random.default_rng(3)
    array = (rng.random((64, 48, 3)) * (1 if dtype == numpy.float32 else 255)).astype(dtype)
    for view in strided_views(array):
        wanted = view if dtype == numpy.uint8 else reference(view)
        assert numpy.array_equal(written(view)[0], wanted)
    channels_first = torch.from_numpy(array.transpose(2, 0, 1).copy())
    wanted = array if dtype == numpy.uint8 else reference(array)
    assert numpy.array_equal(written(channels_first.permute(1, 2, 0))[0], wanted)
    wide = torch.from_numpy(array)
    assert numpy.array_equal(written(wide[1:, ::2])[0], wanted[1:, ::2])
    assert numpy.array_equal(written(wide[:1].expand(9, -1, -1))[0], wanted[:1].repeat(9, 0))


@pytest.mark.parametrize(
    "shape, tensors",
    [
        ((4, 5), [(4, 5, 1)]),
        ((4, 5, 1), [(4, 5, 1)]),
        ((4, 5, 3), [(4, 5, 3)]),
        ((4, 5, 4), [(4, 5, 4)]),
        ((1, 4, 5, 3), [(4, 5, 3)]),
        ((3, 4, 5, 3), [(4, 5, 3)] * 3),
    ],
)
def test_gray_colour_alpha_and_batches_become_tensors(shape, tensors):
    array = numpy.random.default_rng(4).random(shape, numpy.float32)
    for source in both(array):
        got = written(source)
        assert [tensor.shape for tensor in got] == tensors
        assert numpy.array_equal(numpy.stack(got).ravel(), reference(array).ravel())


def test_a_video_is_one_tensor_without_gaps():
    array = numpy.random.default_rng(5).random((3, 5, 7, 3), numpy.float32)
    for source in [*both(array), memoryview(reference(array))]:
        (got,) = written(source, is_video=True)
        assert got.shape == (3, 5, 7, 3)
        assert numpy.array_equal(got, reference(array))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("kind", [0, 1], ids=["numpy", "torch"])
def test_a_picture_that_is_not_finite_is_named(value, kind):
    batch = numpy.zeros((3, 400, 400, 3), numpy.float32)
    batch[1, 399, 399, 2] = value
    with pytest.raises(errors.BadPicture, match=r"messages\[0\]\.content\[1\]\[1\] contains NaN"):
        written(both(batch)[kind], name="messages[0].content[1]")


def test_infinities_that_cancel_out_are_found():
    picture = torch.zeros(8, 8, 3)
    picture[0, 0, 0], picture[0, 0, 1] = math.inf, -math.inf
    with pytest.raises(errors.BadPicture):
        written(picture)


@pytest.mark.parametrize(
    "source, complaint",
    [
        (numpy.zeros((0, 4, 4, 3), numpy.float32), r"empty: its shape is \[0, 4, 4, 3\]"),
        (numpy.zeros((4, 0, 3), numpy.float32), "empty"),
        (torch.zeros(0), "shape"),
        (torch.zeros(3, 64, 64), "64 channels"),
        (torch.zeros(2, 2, 2, 2, 3), r"shape \[2, 2, 2, 2, 3\]"),
        (torch.zeros(4, 4, 2), "2 channels"),
        (torch.zeros(4, 4, 3, dtype=torch.int64), "type int64"),
        (numpy.zeros((4, 4, 3), bool), "type bool"),
        (numpy.zeros((4, 4, 3), ">f4"), "type >f4"),
        (memoryview(numpy.zeros((4, 4, 3), numpy.float32)), "format 'f'"),
        (memoryview(numpy.zeros((4, 8, 3), numpy.uint8)[:, ::2]), "gaps"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_shape_or_type(source, complaint):
    with pytest.raises(errors.BadPicture, match=complaint) as raised:
        Pixels(source, "picture")
    assert raised.value.what.startswith("picture ")


def test_a_tensor_that_needs_a_gradient_is_read_like_any_other():
    picture = torch.rand(4, 4, 3, requires_grad=True)
    (got,) = written(picture * 1)
    assert numpy.array_equal(got, reference(picture.detach().numpy()))
    with torch.inference_mode():
        assert numpy.array_equal(written(picture)[0], got)


def test_only_tensors_are_tensors():
    assert is_tensor(torch.nn.Parameter(torch.zeros(1)))
    assert is_tensor(numpy.zeros(1)) and is_tensor(memoryview(b"x"))
    assert not any(is_tensor(value) for value in ("text", b"bytes", 1, [1], {"video": 1}, None))


@pytest.mark.parametrize(
    "dtype, name",
    [
        (torch.uint8, "u8"), (torch.int8, "i8"), (torch.int16, "i16"), (torch.int32, "i32"),
        (torch.int64, "i64"), (torch.float16, "f16"), (torch.bfloat16, "bf16"),
        (torch.float32, "f32"), (torch.float64, "f64"), (torch.bool, "bool"),
        (torch.float8_e4m3fn, "f8e4m3"), (torch.float8_e5m2, "f8e5m2"),
    ],
)  # fmt: skip
def test_any_tensor_can_be_copied_raw(dtype, name):
    source = (torch.rand(4, 6, 8) * 8).to(dtype)[:, ::2]
    memory = mmap.mmap(-1, BEGIN + 4096)
    assert copy_raw(source, memory, BEGIN) == (name, [4, 3, 8])
    raw = torch.frombuffer(memory, dtype=dtype, count=source.numel(), offset=BEGIN)
    assert torch.equal(raw.view(torch.uint8), source.contiguous().view(-1).view(torch.uint8))


def test_numpy_arrays_can_be_copied_raw():
    source = numpy.arange(24, dtype=numpy.float32).reshape(4, 6)[:, ::2]
    memory = mmap.mmap(-1, BEGIN + 4096)
    assert copy_raw(source, memory, BEGIN) == ("f32", [4, 3])
    assert numpy.array_equal(numpy.frombuffer(memory, "f4", 12, BEGIN).reshape(4, 3), source)
    with pytest.raises(errors.BadTensor, match="complex64"):
        copy_raw(source.astype("c8"), memory, BEGIN)
