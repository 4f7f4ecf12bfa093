"""What hearth's processes say to each other, as plain classes.

Generated from shm/contract/messages.toml by generate.py; edit that file instead.
docs/protocol.md describes the messages. Nothing here does I/O or knows msgpack: `to_fields()`
gives the map that a frame's body holds, `from_fields()` reads one.
"""

# fmt: off
# ruff: noqa: E501

from __future__ import annotations

from typing import Any, ClassVar, Mapping, TypeVar

PROTOCOL_VERSION = 2
OLDEST_PROTOCOL_VERSION = 2
SCHEMA_HASH = "31ae2f12ece7e0ff"

S = TypeVar("S", bound="Struct")


class Struct:
    """What all structs and messages can do. TYPE is 0 for structs, which travel inside messages."""

    NAME: ClassVar[str] = ""
    TYPE: ClassVar[int] = 0
    KIND: ClassVar[str] = "struct"
    REQUIRED: ClassVar[tuple[str, ...]] = ()
    NESTED: ClassVar[dict[str, type[Struct]]] = {}
    __slots__: ClassVar[tuple[str, ...]] = ()

    def to_fields(self) -> dict[str, Any]:
        """The fields in the contract's order as plain values; absent optional ones are left out."""
        fields = {}
        for name in self.__slots__:
            value = getattr(self, name)
            if value is not None:
                fields[name] = _plain(value)
        return fields

    @classmethod
    def from_fields(cls: type[S], fields: Mapping[str, Any]) -> S:
        """Reads a map. Keys nobody declared are ignored: they come from a newer service.

        Raises ValueError when a required field is missing or a struct is not a map.
        """
        if not isinstance(fields, (dict, Mapping)):  # dict first: it is asked much faster
            raise ValueError(f"{cls.NAME}: expected a map, got {type(fields).__name__}")
        missing = [name for name in cls.REQUIRED if name not in fields] if cls.REQUIRED else None
        if missing:
            raise ValueError(f"{cls.NAME}: missing {', '.join(missing)}")
        known = {name: fields[name] for name in cls.__slots__ if name in fields}
        for name, inner in cls.NESTED.items():
            if name in known:
                value = known[name]
                many = isinstance(value, (list, tuple))
                known[name] = [inner.from_fields(v) for v in value] if many else inner.from_fields(value)
        return cls(**known)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({values})"


def _plain(value: Any) -> Any:
    if isinstance(value, Struct):
        return value.to_fields()
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def widget(message: str | type[Struct], field: str) -> dict[str, Any]:
    """What a user interface needs to ask for `field`: default, min, max, step, choices, tooltip."""
    name = message if isinstance(message, str) else message.NAME
    return dict(WIDGETS[name][field])


class Tensor(Struct):
    """A dense, row-major tensor inside an arena. shm/tensor.h holds the rules.

    arena: arena id from arena_grant
    offset: bytes from the arena's start; a multiple of 64, at least 4096
    nbytes: product of shape times item size
    dtype: element type
    shape: dimensions, outermost first
    layout: meaning of the dimensions, such as HWC or BHWC
    range: meaning of the values: unit (0..1) or u8 (0..255)
    """

    NAME = "tensor"
    REQUIRED = ("arena", "offset", "nbytes", "dtype", "shape")
    __slots__ = ("arena", "offset", "nbytes", "dtype", "shape", "layout", "range")

    def __init__(
        self,
        *,
        arena: int,
        offset: int,
        nbytes: int,
        dtype: str,
        shape: list[int],
        layout: str = "",
        range: str = "",
    ) -> None:
        self.arena = arena
        self.offset = offset
        self.nbytes = nbytes
        self.dtype = dtype
        self.shape = shape
        self.layout = layout
        self.range = range


class ContentPart(Struct):
    """One piece of a chat message, in the order in which the model shall see it.

    kind: which of the fields below counts
    text: UTF-8; special tokens in it are read as plain text
    tensor: image: [height, width, channels]; video: [frames, height, width, channels]; u8, channels 1, 3 or 4
    fps: video: frames per second that frame_indices count; a video without is refused
    frame_indices: video: which frame of its source each frame of the tensor is, rising; frame i was seen at frame_indices[i] / fps seconds; empty: 0, 1, 2, …
    min_pixels: smallest area of this picture, or of all frames of this video together, after resizing; 0: the request's
    max_pixels: largest area of this picture, or of all frames of this video together, after resizing; 0: the request's
    """

    NAME = "content_part"
    REQUIRED = ("kind",)
    NESTED = {"tensor": Tensor}
    __slots__ = ("kind", "text", "tensor", "fps", "frame_indices", "min_pixels", "max_pixels")

    def __init__(
        self,
        *,
        kind: str,
        text: str = "",
        tensor: Tensor | None = None,
        fps: float = 0.0,
        frame_indices: list[int] | None = None,
        min_pixels: int = 0,
        max_pixels: int = 0,
    ) -> None:
        self.kind = kind
        self.text = text
        self.tensor = tensor
        self.fps = fps
        self.frame_indices = [] if frame_indices is None else frame_indices
        self.min_pixels = min_pixels
        self.max_pixels = max_pixels


class ChatMessage(Struct):
    """One turn.

    role: who speaks
    content: pieces in order
    """

    NAME = "chat_message"
    REQUIRED = ("role", "content")
    NESTED = {"content": ContentPart}
    __slots__ = ("role", "content")

    def __init__(
        self,
        *,
        role: str,
        content: list[ContentPart],
    ) -> None:
        self.role = role
        self.content = content


class Limits(Struct):
    """What this service allows a connection.

    frame_bytes: largest body of a frame
    open_requests: requests open at once
    arenas: arenas held at once
    arena_bytes: sum of all arenas
    tensors: tensors in one request
    """

    NAME = "limits"
    REQUIRED = ("frame_bytes", "open_requests", "arenas", "arena_bytes", "tensors")
    __slots__ = ("frame_bytes", "open_requests", "arenas", "arena_bytes", "tensors")

    def __init__(
        self,
        *,
        frame_bytes: int,
        open_requests: int,
        arenas: int,
        arena_bytes: int,
        tensors: int,
    ) -> None:
        self.frame_bytes = frame_bytes
        self.open_requests = open_requests
        self.arenas = arenas
        self.arena_bytes = arena_bytes
        self.tensors = tensors


class Quota(Struct):
    """What all connections of one user may hold together.

    connections: connections at once
    open_requests: requests open at once
    arenas: arenas held at once, both directions
    arena_bytes: sum of all arenas, both directions
    tensors: tensors in open requests and in results not yet released
    """

    NAME = "quota"
    REQUIRED = ("connections", "open_requests", "arenas", "arena_bytes", "tensors")
    __slots__ = ("connections", "open_requests", "arenas", "arena_bytes", "tensors")

    def __init__(
        self,
        *,
        connections: int,
        open_requests: int,
        arenas: int,
        arena_bytes: int,
        tensors: int,
    ) -> None:
        self.connections = connections
        self.open_requests = open_requests
        self.arenas = arenas
        self.arena_bytes = arena_bytes
        self.tensors = tensors


class Slot(Struct):
    """A result in an out arena, named by where it begins.

    arena: arena id from out_arena
    offset: as in the tensor's descriptor
    """

    NAME = "slot"
    REQUIRED = ("arena", "offset")
    __slots__ = ("arena", "offset")

    def __init__(
        self,
        *,
        arena: int,
        offset: int,
    ) -> None:
        self.arena = arena
        self.offset = offset


class Device(Struct):
    """What a worker computes on.

    kind: none: a build without an engine
    name: as the driver or /proc/cpuinfo calls it
    memory_bytes: device memory, or RAM for cpu
    threads: cpu: threads used for computing
    compute_capability: cuda: such as 9.0
    built_for: cuda: compute capabilities that this build has machine code for
    bandwidth_bytes_per_s: what its memory can give: cuda from the driver's clock and bus width, cpu measured when the worker starts; 0: unknown
    """

    NAME = "device"
    REQUIRED = ("kind",)
    __slots__ = ("kind", "name", "memory_bytes", "threads", "compute_capability", "built_for", "bandwidth_bytes_per_s")

    def __init__(
        self,
        *,
        kind: str,
        name: str = "",
        memory_bytes: int = 0,
        threads: int = 0,
        compute_capability: str = "",
        built_for: list[str] | None = None,
        bandwidth_bytes_per_s: int = 0,
    ) -> None:
        self.kind = kind
        self.name = name
        self.memory_bytes = memory_bytes
        self.threads = threads
        self.compute_capability = compute_capability
        self.built_for = [] if built_for is None else built_for
        self.bandwidth_bytes_per_s = bandwidth_bytes_per_s


class DeviceState(Struct):
    """What the device was doing when a request ended. A number that cannot be read is absent.

    source: where the numbers are from: nvml, procfs; or why there are none
    clock_mhz: of the multiprocessors, or of the processor's cores on average
    memory_clock_mhz: of the device's memory
    power_w: power draw
    power_limit_w: the most it may draw
    temperature_c: of the chip
    throttled_by: what holds the clock down: power_cap, thermal, hardware_slowdown, …
    memory_used_bytes: of the device, by all processes
    memory_total_bytes: of the device
    held_bytes: what hearth's models hold of it, by their plans
    torch_used_bytes: cuda: libtorch's allocator, in use
    torch_kept_bytes: cuda: libtorch's allocator, taken from the driver
    """

    NAME = "device_state"
    __slots__ = ("source", "clock_mhz", "memory_clock_mhz", "power_w", "power_limit_w", "temperature_c", "throttled_by", "memory_used_bytes", "memory_total_bytes", "held_bytes", "torch_used_bytes", "torch_kept_bytes")

    def __init__(
        self,
        *,
        source: str = "",
        clock_mhz: int | None = None,
        memory_clock_mhz: int | None = None,
        power_w: float | None = None,
        power_limit_w: float | None = None,
        temperature_c: int | None = None,
        throttled_by: list[str] | None = None,
        memory_used_bytes: int | None = None,
        memory_total_bytes: int | None = None,
        held_bytes: int = 0,
        torch_used_bytes: int | None = None,
        torch_kept_bytes: int | None = None,
    ) -> None:
        self.source = source
        self.clock_mhz = clock_mhz
        self.memory_clock_mhz = memory_clock_mhz
        self.power_w = power_w
        self.power_limit_w = power_limit_w
        self.temperature_c = temperature_c
        self.throttled_by = [] if throttled_by is None else throttled_by
        self.memory_used_bytes = memory_used_bytes
        self.memory_total_bytes = memory_total_bytes
        self.held_bytes = held_bytes
        self.torch_used_bytes = torch_used_bytes
        self.torch_kept_bytes = torch_kept_bytes


class ModelEntry(Struct):
    """One model as list_models shows it.

    model: the id requests use
    name: what its owner called it
    family: family that recognised it
    dtype: arithmetic type of its weights
    state: cold: files only; warm: its weights rest in pinned memory, from where they are copied back; hot: ready to answer
    resident_bytes: bytes of weights and caches it holds on the device
    image_bytes: pinned memory that the image of its weights takes, whether it is warm or hot
    loads: times it was loaded since the service started
    holders: connections that hold it
    is_public: published by the service: every client may use it
    pinned: it leaves the device only when an administrator asks for it
    idle_ms: since its last request ended; 0 while it works
    leaves_in_ms: until it leaves the device because nobody uses it; absent: it does not
    """

    NAME = "model_entry"
    REQUIRED = ("model", "name", "state")
    __slots__ = ("model", "name", "family", "dtype", "state", "resident_bytes", "image_bytes", "loads", "holders", "is_public", "pinned", "idle_ms", "leaves_in_ms")

    def __init__(
        self,
        *,
        model: str,
        name: str,
        family: str = "",
        dtype: str = "",
        state: str,
        resident_bytes: int = 0,
        image_bytes: int = 0,
        loads: int = 0,
        holders: int = 0,
        is_public: bool = False,
        pinned: bool = False,
        idle_ms: int = 0,
        leaves_in_ms: int | None = None,
    ) -> None:
        self.model = model
        self.name = name
        self.family = family
        self.dtype = dtype
        self.state = state
        self.resident_bytes = resident_bytes
        self.image_bytes = image_bytes
        self.loads = loads
        self.holders = holders
        self.is_public = is_public
        self.pinned = pinned
        self.idle_ms = idle_ms
        self.leaves_in_ms = leaves_in_ms


class ClientEntry(Struct):
    """One connection as status shows it.

    connection: id from welcome
    client: name from hello
    pid: process id of the peer
    uid: user id of the peer; quotas count by it
    stalled: it does not answer pings
    open_requests: requests queued or running
    arenas: arenas held, both directions
    arena_bytes: their bytes
    results: results in out arenas that it has not released
    connected_ms: since it connected
    served: its requests that ended with a reply
    failed: its requests that ended with an error
    generated_tokens: in all its replies
    """

    NAME = "client_entry"
    REQUIRED = ("connection",)
    __slots__ = ("connection", "client", "pid", "uid", "stalled", "open_requests", "arenas", "arena_bytes", "results", "connected_ms", "served", "failed", "generated_tokens")

    def __init__(
        self,
        *,
        connection: int,
        client: str = "",
        pid: int = 0,
        uid: int = 0,
        stalled: bool = False,
        open_requests: int = 0,
        arenas: int = 0,
        arena_bytes: int = 0,
        results: int = 0,
        connected_ms: int = 0,
        served: int = 0,
        failed: int = 0,
        generated_tokens: int = 0,
    ) -> None:
        self.connection = connection
        self.client = client
        self.pid = pid
        self.uid = uid
        self.stalled = stalled
        self.open_requests = open_requests
        self.arenas = arenas
        self.arena_bytes = arena_bytes
        self.results = results
        self.connected_ms = connected_ms
        self.served = served
        self.failed = failed
        self.generated_tokens = generated_tokens


class MemoryPlan(Struct):
    """Device memory a model takes, known before it is loaded. Bytes.

    weights_bytes: decoder and vision tower, in the layout they are computed from
    cache_bytes: pages of keys and values, and the vision cache when full
    scratch_bytes: activations and workspaces
    image_bytes: not of the device: pinned memory in which its weights can rest; 0: they cannot
    """

    NAME = "memory_plan"
    __slots__ = ("weights_bytes", "cache_bytes", "scratch_bytes", "image_bytes")

    def __init__(
        self,
        *,
        weights_bytes: int = 0,
        cache_bytes: int = 0,
        scratch_bytes: int = 0,
        image_bytes: int = 0,
    ) -> None:
        self.weights_bytes = weights_bytes
        self.cache_bytes = cache_bytes
        self.scratch_bytes = scratch_bytes
        self.image_bytes = image_bytes


class Answer(Struct):
    """One of several answers to a request.

    text: without stop token, stop string and thoughts
    thinking: the model's thoughts before the text
    token_ids: generated ids, stop token included; i32 little endian
    token_us: as in generated
    stop_reason: why it ended
    score: beam search: sum of the log probabilities over length ^ length_penalty
    """

    NAME = "answer"
    REQUIRED = ("text", "token_ids", "token_us", "stop_reason")
    __slots__ = ("text", "thinking", "token_ids", "token_us", "stop_reason", "score")

    def __init__(
        self,
        *,
        text: str,
        thinking: str = "",
        token_ids: bytes,
        token_us: bytes,
        stop_reason: str,
        score: float = 0.0,
    ) -> None:
        self.text = text
        self.thinking = thinking
        self.token_ids = token_ids
        self.token_us = token_us
        self.stop_reason = stop_reason
        self.score = score


class SeenPicture(Struct):
    """A picture or video as the model saw it.

    width: as it was sent, pixels
    height: as it was sent, pixels
    seen_width: as the model saw it, pixels: what coordinates of a family that counts in pixels refer to
    seen_height: as the model saw it, pixels
    frames: of a video; 0: a picture
    tokens: tokens of the prompt that it takes, a video's timestamps not counted
    """

    NAME = "seen_picture"
    REQUIRED = ("width", "height", "seen_width", "seen_height", "tokens")
    __slots__ = ("width", "height", "seen_width", "seen_height", "frames", "tokens")

    def __init__(
        self,
        *,
        width: int,
        height: int,
        seen_width: int,
        seen_height: int,
        frames: int = 0,
        tokens: int,
    ) -> None:
        self.width = width
        self.height = height
        self.seen_width = seen_width
        self.seen_height = seen_height
        self.frames = frames
        self.tokens = tokens


class CacheEntry(Struct):
    """One cache of a model as status shows it.

    model: the model it belongs to; empty: the service
    name: prefix: keys and values of prompts; vision: features of pictures; result: kept answers
    entries: pages, pictures, answers
    bytes: memory they take
    budget_bytes: the most they may take; the least recently used go first
    hits: prompts or pictures that found something
    misses: those that found nothing
    """

    NAME = "cache_entry"
    REQUIRED = ("name",)
    __slots__ = ("model", "name", "entries", "bytes", "budget_bytes", "hits", "misses")

    def __init__(
        self,
        *,
        model: str = "",
        name: str,
        entries: int = 0,
        bytes: int = 0,
        budget_bytes: int = 0,
        hits: int = 0,
        misses: int = 0,
    ) -> None:
        self.model = model
        self.name = name
        self.entries = entries
        self.bytes = bytes
        self.budget_bytes = budget_bytes
        self.hits = hits
        self.misses = misses


class JobEntry(Struct):
    """One request at work or waiting, as list_jobs shows it.

    job: id for cancel_job
    kind: what it does
    state: queued: for a slot, for memory or behind an equal prompt; loading: its model is
    connection: whose it is; 0: of a connection that is gone and may come back
    client: that connection's program
    pid: its process
    uid: its user
    model: id
    name: the model's name
    place: queued: how many are before it
    waited_ms: from its arrival until it ran, or until now
    running_ms: since it runs
    tokens: generated so far
    """

    NAME = "job_entry"
    REQUIRED = ("job", "kind", "state")
    __slots__ = ("job", "kind", "state", "connection", "client", "pid", "uid", "model", "name", "place", "waited_ms", "running_ms", "tokens")

    def __init__(
        self,
        *,
        job: int,
        kind: str,
        state: str,
        connection: int = 0,
        client: str = "",
        pid: int = 0,
        uid: int = 0,
        model: str = "",
        name: str = "",
        place: int = 0,
        waited_ms: int = 0,
        running_ms: int = 0,
        tokens: int = 0,
    ) -> None:
        self.job = job
        self.kind = kind
        self.state = state
        self.connection = connection
        self.client = client
        self.pid = pid
        self.uid = uid
        self.model = model
        self.name = name
        self.place = place
        self.waited_ms = waited_ms
        self.running_ms = running_ms
        self.tokens = tokens


class QuarantineEntry(Struct):
    """A model that is refused because it ended the engine process.

    model: id
    name: as its owner called it
    operation: under which the process ended: attach, load, generate
    deaths: how often
    left_ms: until it is tried again
    """

    NAME = "quarantine_entry"
    REQUIRED = ("model", "operation", "deaths", "left_ms")
    __slots__ = ("model", "name", "operation", "deaths", "left_ms")

    def __init__(
        self,
        *,
        model: str,
        name: str = "",
        operation: str,
        deaths: int,
        left_ms: int,
    ) -> None:
        self.model = model
        self.name = name
        self.operation = operation
        self.deaths = deaths
        self.left_ms = left_ms


class ErrorEntry(Struct):
    """Something that went wrong, for those who look after the service.

    at_ms: Unix time in milliseconds
    code: an error code
    what: what happened
    model: name of the model it was about
    client: program of the connection it was told to
    """

    NAME = "error_entry"
    REQUIRED = ("at_ms", "code", "what")
    __slots__ = ("at_ms", "code", "what", "model", "client")

    def __init__(
        self,
        *,
        at_ms: int,
        code: str,
        what: str,
        model: str = "",
        client: str = "",
    ) -> None:
        self.at_ms = at_ms
        self.code = code
        self.what = what
        self.model = model
        self.client = client


class ConfigValue(Struct):
    """One setting of the service. docs/config.md explains all of them.

    key: section and name: server.drain
    value: as TOML
    usual_value: without any configuration, as TOML
    origin: default, command line, HEARTH_…, or FILE:LINE
    takes_effect: when a change counts
    """

    NAME = "config_value"
    REQUIRED = ("key", "value", "takes_effect")
    __slots__ = ("key", "value", "usual_value", "origin", "takes_effect")

    def __init__(
        self,
        *,
        key: str,
        value: str,
        usual_value: str = "",
        origin: str = "",
        takes_effect: str,
    ) -> None:
        self.key = key
        self.value = value
        self.usual_value = usual_value
        self.origin = origin
        self.takes_effect = takes_effect


class ConfigChange(Struct):
    """A setting that differs between what runs and what the files say.

    key: section and name
    before: as TOML
    after: as TOML
    origin: of the later value
    takes_effect: when it counts
    """

    NAME = "config_change"
    REQUIRED = ("key", "before", "after", "takes_effect")
    __slots__ = ("key", "before", "after", "origin", "takes_effect")

    def __init__(
        self,
        *,
        key: str,
        before: str,
        after: str,
        origin: str = "",
        takes_effect: str,
    ) -> None:
        self.key = key
        self.before = before
        self.after = after
        self.origin = origin
        self.takes_effect = takes_effect


class Receipt(Struct):
    """Where the time of one request went. Milliseconds of wall clock, not overlapping, in this order.

    queue_ms: waiting for a free slot, for memory, or for another's equal prompt; loading not counted
    load_ms: loading the model; 0 when it was hot
    warm_load: load_ms is the return from pinned memory: its weights were still being copied while the prompt was computed
    preprocess_ms: tokenise, resize, patchify
    vision_ms: vision tower
    prefill_ms: prompt through the decoder
    decode_ms: all generated tokens but the first
    first_token_ms: from arrival in the broker to the first token
    total_ms: from arrival in the broker to the reply
    prompt_tokens: tokens of the prompt, pictures included
    image_tokens: of these, tokens of pictures
    cached_tokens: of prompt_tokens, those whose keys and values were cached: they cost nothing
    cached_pictures: pictures that the vision tower did not have to see
    generated_tokens: tokens generated, stop tokens included; of all answers
    thinking_tokens: of these, tokens of thoughts
    tokens_per_second: (generated_tokens - 1) / decode_ms
    slowest_token_ms: longest single decode step
    stalls: decode steps longer than three times the median
    bytes_per_token: weights, keys and values that one decode step at the answer's end reads
    bandwidth_share: bytes_per_token x tokens_per_second over the device's bandwidth_bytes_per_s; 0: unknown
    pinned: all its tensors lay in page-locked memory
    replayed: the answer of an earlier request with the same key or result_key
    model: model id
    model_loads: times this model was loaded since the service started
    device: device name
    dtype: arithmetic type
    device_state: the device when the request ended
    request: number of the request in the service's log, trace and list_requests
    evicted: names of the models that left the device to make room for it
    """

    NAME = "receipt"
    NESTED = {"device_state": DeviceState}
    __slots__ = ("queue_ms", "load_ms", "warm_load", "preprocess_ms", "vision_ms", "prefill_ms", "decode_ms", "first_token_ms", "total_ms", "prompt_tokens", "image_tokens", "cached_tokens", "cached_pictures", "generated_tokens", "thinking_tokens", "tokens_per_second", "slowest_token_ms", "stalls", "bytes_per_token", "bandwidth_share", "pinned", "replayed", "model", "model_loads", "device", "dtype", "device_state", "request", "evicted")

    def __init__(
        self,
        *,
        queue_ms: float = 0.0,
        load_ms: float = 0.0,
        warm_load: bool = False,
        preprocess_ms: float = 0.0,
        vision_ms: float = 0.0,
        prefill_ms: float = 0.0,
        decode_ms: float = 0.0,
        first_token_ms: float = 0.0,
        total_ms: float = 0.0,
        prompt_tokens: int = 0,
        image_tokens: int = 0,
        cached_tokens: int = 0,
        cached_pictures: int = 0,
        generated_tokens: int = 0,
        thinking_tokens: int = 0,
        tokens_per_second: float = 0.0,
        slowest_token_ms: float = 0.0,
        stalls: int = 0,
        bytes_per_token: int = 0,
        bandwidth_share: float = 0.0,
        pinned: bool = False,
        replayed: bool = False,
        model: str = "",
        model_loads: int = 0,
        device: str = "",
        dtype: str = "",
        device_state: DeviceState | None = None,
        request: int = 0,
        evicted: list[str] | None = None,
    ) -> None:
        self.queue_ms = queue_ms
        self.load_ms = load_ms
        self.warm_load = warm_load
        self.preprocess_ms = preprocess_ms
        self.vision_ms = vision_ms
        self.prefill_ms = prefill_ms
        self.decode_ms = decode_ms
        self.first_token_ms = first_token_ms
        self.total_ms = total_ms
        self.prompt_tokens = prompt_tokens
        self.image_tokens = image_tokens
        self.cached_tokens = cached_tokens
        self.cached_pictures = cached_pictures
        self.generated_tokens = generated_tokens
        self.thinking_tokens = thinking_tokens
        self.tokens_per_second = tokens_per_second
        self.slowest_token_ms = slowest_token_ms
        self.stalls = stalls
        self.bytes_per_token = bytes_per_token
        self.bandwidth_share = bandwidth_share
        self.pinned = pinned
        self.replayed = replayed
        self.model = model
        self.model_loads = model_loads
        self.device = device
        self.dtype = dtype
        self.device_state = DeviceState() if device_state is None else device_state
        self.request = request
        self.evicted = [] if evicted is None else evicted


class RequestRecord(Struct):
    """One request that ended. The service keeps the last 4096, of which a client sees its own user's.

    request: number, rising
    at_ms: arrival, Unix time in milliseconds
    kind: what it was
    name: the model's name
    client: the connection's program
    connection: its id
    pid: its process
    uid: its user
    code: error code; empty: it was answered
    what: what the error said
    is_cold: its model had to be loaded
    receipt: where its time went; of an error what is known
    """

    NAME = "request_record"
    REQUIRED = ("request", "at_ms", "kind")
    NESTED = {"receipt": Receipt}
    __slots__ = ("request", "at_ms", "kind", "name", "client", "connection", "pid", "uid", "code", "what", "is_cold", "receipt")

    def __init__(
        self,
        *,
        request: int,
        at_ms: int,
        kind: str,
        name: str = "",
        client: str = "",
        connection: int = 0,
        pid: int = 0,
        uid: int = 0,
        code: str = "",
        what: str = "",
        is_cold: bool = False,
        receipt: Receipt | None = None,
    ) -> None:
        self.request = request
        self.at_ms = at_ms
        self.kind = kind
        self.name = name
        self.client = client
        self.connection = connection
        self.pid = pid
        self.uid = uid
        self.code = code
        self.what = what
        self.is_cold = is_cold
        self.receipt = Receipt() if receipt is None else receipt


class Hello(Struct):
    """First frame of a client, within two seconds of connecting.

    oldest: oldest protocol version the client speaks
    newest: newest one
    client: program and version, for the status
    instance: random id of the client process
    features: optional abilities of the client
    """

    NAME = "hello"
    TYPE = 1
    KIND = "connection"
    REQUIRED = ("oldest", "newest")
    __slots__ = ("oldest", "newest", "client", "instance", "features")

    def __init__(
        self,
        *,
        oldest: int,
        newest: int,
        client: str = "",
        instance: str = "",
        features: list[str] | None = None,
    ) -> None:
        self.oldest = oldest
        self.newest = newest
        self.client = client
        self.instance = instance
        self.features = [] if features is None else features


class Welcome(Struct):
    """Answer to hello: the connection is usable.

    version: protocol version of this connection
    server: service and version
    boot_id: changes with each start; ids and arenas of another boot are void
    connection: id of this connection in logs and status
    limits: what the service allows this connection
    quota: what it allows all connections of this user together
    heartbeat_ms: silence after which the service pings a client with open requests; after three times as long it gives the client up; 0: never
    devices: what the workers compute on
    features: optional abilities of the service
    schema_hash: of messages.toml; equal hashes mean equal contracts
    """

    NAME = "welcome"
    TYPE = 2
    KIND = "connection"
    REQUIRED = ("version", "server", "boot_id", "connection", "limits", "schema_hash")
    NESTED = {"limits": Limits, "quota": Quota, "devices": Device}
    __slots__ = ("version", "server", "boot_id", "connection", "limits", "quota", "heartbeat_ms", "devices", "features", "schema_hash")

    def __init__(
        self,
        *,
        version: int,
        server: str,
        boot_id: str,
        connection: int,
        limits: Limits,
        quota: Quota | None = None,
        heartbeat_ms: int = 0,
        devices: list[Device] | None = None,
        features: list[str] | None = None,
        schema_hash: str,
    ) -> None:
        self.version = version
        self.server = server
        self.boot_id = boot_id
        self.connection = connection
        self.limits = limits
        self.quota = quota
        self.heartbeat_ms = heartbeat_ms
        self.devices = [] if devices is None else devices
        self.features = [] if features is None else features
        self.schema_hash = schema_hash


class Error(Struct):
    """Ends a request that failed. With request_id 0 it ends the connection.

    code: a word from the list of errors
    what: what happened, with values
    hint: what the user can do
    retryable: the same request may succeed when sent again
    retry_after_ms: wait at least so long
    """

    NAME = "error"
    TYPE = 3
    KIND = "reply"
    REQUIRED = ("code", "what")
    __slots__ = ("code", "what", "hint", "retryable", "retry_after_ms")

    def __init__(
        self,
        *,
        code: str,
        what: str,
        hint: str = "",
        retryable: bool = False,
        retry_after_ms: int = 0,
    ) -> None:
        self.code = code
        self.what = what
        self.hint = hint
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms


class Cancel(Struct):
    """Give up the request of this request_id. Idempotent; the request still ends with its one reply or error."""

    NAME = "cancel"
    TYPE = 4
    KIND = "connection"
    __slots__ = ()


class Goaway(Struct):
    """The service is stopping: open requests may finish, new ones are refused.

    drain_ms: time left for open requests
    reason: for the log
    """

    NAME = "goaway"
    TYPE = 5
    KIND = "connection"
    __slots__ = ("drain_ms", "reason")

    def __init__(
        self,
        *,
        drain_ms: int = 0,
        reason: str = "",
    ) -> None:
        self.drain_ms = drain_ms
        self.reason = reason


class Ping(Struct):
    """Does nothing. Answered by the broker itself."""

    NAME = "ping"
    TYPE = 6
    KIND = "request"
    __slots__ = ()


class Pong(Struct):
    """Answer to ping."""

    NAME = "pong"
    TYPE = 7
    KIND = "reply"
    __slots__ = ()


class ArenaAsk(Struct):
    """Ask for shared memory.

    direction: in: written and allocated by the client
    nbytes: at least so many; the grant may be larger
    """

    NAME = "arena_ask"
    TYPE = 8
    KIND = "request"
    REQUIRED = ("nbytes",)
    __slots__ = ("direction", "nbytes")

    def __init__(
        self,
        *,
        direction: str = "in",
        nbytes: int,
    ) -> None:
        self.direction = direction
        self.nbytes = nbytes


class ArenaGrant(Struct):
    """Carries one descriptor: a sealed memfd to map. Its first 4096 bytes are reserved.

    arena: id for tensor descriptors; never used again in this boot
    nbytes: exact size of the memfd
    """

    NAME = "arena_grant"
    TYPE = 9
    KIND = "reply"
    REQUIRED = ("arena", "nbytes")
    __slots__ = ("arena", "nbytes")

    def __init__(
        self,
        *,
        arena: int,
        nbytes: int,
    ) -> None:
        self.arena = arena
        self.nbytes = nbytes


class ArenaDrop(Struct):
    """Give an arena back. Open requests that use it keep it until they end.

    arena: id from arena_grant
    """

    NAME = "arena_drop"
    TYPE = 10
    KIND = "request"
    REQUIRED = ("arena",)
    __slots__ = ("arena",)

    def __init__(
        self,
        *,
        arena: int,
    ) -> None:
        self.arena = arena


class ArenaDropped(Struct):
    """The id is void."""

    NAME = "arena_dropped"
    TYPE = 11
    KIND = "reply"
    __slots__ = ()


class OutArena(Struct):
    """Lends shared memory with results, before the first reply that names it. Carries one descriptor: a sealed memfd that can be mapped read-only or copy-on-write, nothing else.

    arena: id in the tensors of replies; never used again in this boot
    nbytes: exact size of the memfd
    """

    NAME = "out_arena"
    TYPE = 12
    KIND = "connection"
    REQUIRED = ("arena", "nbytes")
    __slots__ = ("arena", "nbytes")

    def __init__(
        self,
        *,
        arena: int,
        nbytes: int,
    ) -> None:
        self.arena = arena
        self.nbytes = nbytes


class OutArenaGone(Struct):
    """No further reply names this arena. What the client has mapped stays readable; slots of it need no release.

    arena: id from out_arena
    """

    NAME = "out_arena_gone"
    TYPE = 13
    KIND = "connection"
    REQUIRED = ("arena",)
    __slots__ = ("arena",)

    def __init__(
        self,
        *,
        arena: int,
    ) -> None:
        self.arena = arena


class Release(Struct):
    """These results are no longer needed. All or nothing: a slot that is not held is an error.

    slots: slots of replies on this connection
    """

    NAME = "release"
    TYPE = 14
    KIND = "request"
    REQUIRED = ("slots",)
    NESTED = {"slots": Slot}
    __slots__ = ("slots",)

    def __init__(
        self,
        *,
        slots: list[Slot],
    ) -> None:
        self.slots = slots


class Released(Struct):
    """The slots are free."""

    NAME = "released"
    TYPE = 15
    KIND = "reply"
    __slots__ = ()


class OfferModel(Struct):
    """Bring a model: one read-only descriptor of a regular file for each label, in the same order.

    name: for people: logs, status
    labels: file names inside the model's folder: config.json, model.safetensors, …
    dtype: what the weights are kept in; auto: as the checkpoint has them. float8, int8 and int4 round the decoder's linears while loading and compute in bfloat16
    head: what the output layer is kept in when dtype rounds; auto: int8
    attention: to find faults with: who computes attention over prompts and pictures. auto: the fastest; flash: hearth's fused kernel; sdpa: libtorch's; eager: every step on its own, in float32. All agree within rounding
    """

    NAME = "offer_model"
    TYPE = 16
    KIND = "request"
    REQUIRED = ("name", "labels")
    __slots__ = ("name", "labels", "dtype", "head", "attention")

    def __init__(
        self,
        *,
        name: str,
        labels: list[str],
        dtype: str = "auto",
        head: str = "auto",
        attention: str = "auto",
    ) -> None:
        self.name = name
        self.labels = labels
        self.dtype = dtype
        self.head = head
        self.attention = attention


class ModelOffered(Struct):
    """The service can serve this model. It is not loaded yet.

    model: id for requests; equal files and dtype give an equal id
    family: family that recognised it
    memory: what it will take when it is loaded
    warnings: what a careful user should know
    """

    NAME = "model_offered"
    TYPE = 17
    KIND = "reply"
    REQUIRED = ("model", "family")
    NESTED = {"memory": MemoryPlan}
    __slots__ = ("model", "family", "memory", "warnings")

    def __init__(
        self,
        *,
        model: str,
        family: str,
        memory: MemoryPlan | None = None,
        warnings: list[str] | None = None,
    ) -> None:
        self.model = model
        self.family = family
        self.memory = MemoryPlan() if memory is None else memory
        self.warnings = [] if warnings is None else warnings


class LoadModel(Struct):
    """Make a model hot and hold it. `generate` does so by itself when needed. Idle models leave when there is no room, also held ones: their next request loads them again.

    model: id from model_offered, or the name of a public model
    """

    NAME = "load_model"
    TYPE = 18
    KIND = "request"
    REQUIRED = ("model",)
    __slots__ = ("model",)

    def __init__(
        self,
        *,
        model: str,
    ) -> None:
        self.model = model


class ModelLoaded(Struct):
    """The model is hot.

    model: its id
    resident_bytes: bytes of weights and caches
    load_ms: time it took; 0 when it was hot
    warm: it was warm: load_ms is the return from pinned memory
    """

    NAME = "model_loaded"
    TYPE = 19
    KIND = "reply"
    REQUIRED = ("model", "resident_bytes", "load_ms")
    __slots__ = ("model", "resident_bytes", "load_ms", "warm")

    def __init__(
        self,
        *,
        model: str,
        resident_bytes: int,
        load_ms: float,
        warm: bool = False,
    ) -> None:
        self.model = model
        self.resident_bytes = resident_bytes
        self.load_ms = load_ms
        self.warm = warm


class UnloadModel(Struct):
    """Give up this connection's hold. The model leaves memory when nobody holds it.

    model: its id
    """

    NAME = "unload_model"
    TYPE = 20
    KIND = "request"
    REQUIRED = ("model",)
    __slots__ = ("model",)

    def __init__(
        self,
        *,
        model: str,
    ) -> None:
        self.model = model


class ModelUnloaded(Struct):
    """The hold is gone.

    resident: the model is still in memory, for others
    image_bytes: answer to rest_model: pinned memory in which its weights rest; 0: it was dropped
    """

    NAME = "model_unloaded"
    TYPE = 21
    KIND = "reply"
    REQUIRED = ("resident",)
    __slots__ = ("resident", "image_bytes")

    def __init__(
        self,
        *,
        resident: bool,
        image_bytes: int = 0,
    ) -> None:
        self.resident = resident
        self.image_bytes = image_bytes


class ListModels(Struct):
    """The models this connection may use."""

    NAME = "list_models"
    TYPE = 22
    KIND = "request"
    __slots__ = ()


class ModelList(Struct):
    """Answer to list_models.

    models: public ones first
    """

    NAME = "model_list"
    TYPE = 23
    KIND = "reply"
    REQUIRED = ("models",)
    NESTED = {"models": ModelEntry}
    __slots__ = ("models",)

    def __init__(
        self,
        *,
        models: list[ModelEntry],
    ) -> None:
        self.models = models


class Status(Struct):
    """How the service is doing."""

    NAME = "status"
    TYPE = 24
    KIND = "request"
    __slots__ = ()


class StatusReport(Struct):
    """Answer to status.

    server: service and version
    boot_id: see welcome
    uptime_ms: since the broker started
    worker_state: of the engine process
    worker_pid: 0 when there is none
    worker_restarts: times the worker was lost since the start
    devices: what the workers compute on
    slots: requests the worker runs at once
    running: requests running
    queued: requests waiting
    served: generate requests that ended with a reply
    failed: generate requests that ended with an error
    arenas: arenas of all clients, both directions
    arena_bytes: their bytes
    results: results in out arenas that nobody has released
    result_bytes: their bytes
    rss_bytes: resident memory of the broker
    descriptors: open file descriptors of the broker
    memory_bytes: device memory that loaded models take
    memory_budget_bytes: the most they may take together
    warm_bytes: pinned memory that images of models' weights take
    warm_budget_bytes: the most they may take together
    caches: of all loaded models, and of the service
    models: at most 512, those the asker may use first
    clients: at most 512, the asking one first
    health: listening: clients are served, the engine is not there; gpu_ok: the engine can take work; loaded: a model is on the device; warm: a model has answered since it was loaded, so nothing cold is left; failed: the engine does not start again by itself
    health_reasons: why it is not better
    mode: whether requests are taken; suspended: they wait, and the device is released
    may_administer: the asker is an administrator
    upgrades: times the broker replaced itself while clients stayed connected
    log: where the log goes: journal, or a file's path; empty: a terminal or a pipe
    quarantined: models that are refused
    last_errors: latest first; of other users only for administrators
    device_state: as of the last answer or the last second at work
    generated_tokens: by all requests
    tokens_per_second: of all requests together, over the last ten seconds
    """

    NAME = "status_report"
    TYPE = 25
    KIND = "reply"
    REQUIRED = ("server", "boot_id", "uptime_ms", "worker_state")
    NESTED = {"devices": Device, "caches": CacheEntry, "models": ModelEntry, "clients": ClientEntry, "quarantined": QuarantineEntry, "last_errors": ErrorEntry, "device_state": DeviceState}
    __slots__ = ("server", "boot_id", "uptime_ms", "worker_state", "worker_pid", "worker_restarts", "devices", "slots", "running", "queued", "served", "failed", "arenas", "arena_bytes", "results", "result_bytes", "rss_bytes", "descriptors", "memory_bytes", "memory_budget_bytes", "warm_bytes", "warm_budget_bytes", "caches", "models", "clients", "health", "health_reasons", "mode", "may_administer", "upgrades", "log", "quarantined", "last_errors", "device_state", "generated_tokens", "tokens_per_second")

    def __init__(
        self,
        *,
        server: str,
        boot_id: str,
        uptime_ms: int,
        worker_state: str,
        worker_pid: int = 0,
        worker_restarts: int = 0,
        devices: list[Device] | None = None,
        slots: int = 0,
        running: int = 0,
        queued: int = 0,
        served: int = 0,
        failed: int = 0,
        arenas: int = 0,
        arena_bytes: int = 0,
        results: int = 0,
        result_bytes: int = 0,
        rss_bytes: int = 0,
        descriptors: int = 0,
        memory_bytes: int = 0,
        memory_budget_bytes: int = 0,
        warm_bytes: int = 0,
        warm_budget_bytes: int = 0,
        caches: list[CacheEntry] | None = None,
        models: list[ModelEntry] | None = None,
        clients: list[ClientEntry] | None = None,
        health: str = "listening",
        health_reasons: list[str] | None = None,
        mode: str = "serving",
        may_administer: bool = False,
        upgrades: int = 0,
        log: str = "",
        quarantined: list[QuarantineEntry] | None = None,
        last_errors: list[ErrorEntry] | None = None,
        device_state: DeviceState | None = None,
        generated_tokens: int = 0,
        tokens_per_second: float = 0.0,
    ) -> None:
        self.server = server
        self.boot_id = boot_id
        self.uptime_ms = uptime_ms
        self.worker_state = worker_state
        self.worker_pid = worker_pid
        self.worker_restarts = worker_restarts
        self.devices = [] if devices is None else devices
        self.slots = slots
        self.running = running
        self.queued = queued
        self.served = served
        self.failed = failed
        self.arenas = arenas
        self.arena_bytes = arena_bytes
        self.results = results
        self.result_bytes = result_bytes
        self.rss_bytes = rss_bytes
        self.descriptors = descriptors
        self.memory_bytes = memory_bytes
        self.memory_budget_bytes = memory_budget_bytes
        self.warm_bytes = warm_bytes
        self.warm_budget_bytes = warm_budget_bytes
        self.caches = [] if caches is None else caches
        self.models = [] if models is None else models
        self.clients = [] if clients is None else clients
        self.health = health
        self.health_reasons = [] if health_reasons is None else health_reasons
        self.mode = mode
        self.may_administer = may_administer
        self.upgrades = upgrades
        self.log = log
        self.quarantined = [] if quarantined is None else quarantined
        self.last_errors = [] if last_errors is None else last_errors
        self.device_state = DeviceState() if device_state is None else device_state
        self.generated_tokens = generated_tokens
        self.tokens_per_second = tokens_per_second


class FreeMemory(Struct):
    """Somebody else needs the device: idle models leave it, least useful first, until so much is free. Holds stay: a model that left is loaded again by its next request.

    nbytes: device memory to give back; 0: all that is idle
    """

    NAME = "free_memory"
    TYPE = 26
    KIND = "request"
    __slots__ = ("nbytes",)

    def __init__(
        self,
        *,
        nbytes: int = 0,
    ) -> None:
        self.nbytes = nbytes


class MemoryFreed(Struct):
    """What left.

    freed_bytes: given back to the device
    resident_bytes: still taken by models that are at work
    models: names of the models that left
    """

    NAME = "memory_freed"
    TYPE = 27
    KIND = "reply"
    REQUIRED = ("freed_bytes", "resident_bytes")
    __slots__ = ("freed_bytes", "resident_bytes", "models")

    def __init__(
        self,
        *,
        freed_bytes: int,
        resident_bytes: int,
        models: list[str] | None = None,
    ) -> None:
        self.freed_bytes = freed_bytes
        self.resident_bytes = resident_bytes
        self.models = [] if models is None else models


class PlanLoad(Struct):
    """What loading a model would take, and who would have to leave. Nothing is loaded and nobody leaves.

    model: id from model_offered, or the name of a public model
    """

    NAME = "plan_load"
    TYPE = 28
    KIND = "request"
    REQUIRED = ("model",)
    __slots__ = ("model",)

    def __init__(
        self,
        *,
        model: str,
    ) -> None:
        self.model = model


class LoadPlan(Struct):
    """Answer to plan_load.

    model: its id
    is_hot: it is loaded already: nothing would happen
    is_warm: it would come back from pinned memory
    fits: it can be loaded now, once those in `leaving` have left
    memory: what it would take
    free_bytes: of the budget, not taken by any model
    budget_bytes: the most that all models may take together
    leaving: names of the idle models that would leave
    at_work: names of the models that cannot leave now
    """

    NAME = "load_plan"
    TYPE = 29
    KIND = "reply"
    REQUIRED = ("model",)
    NESTED = {"memory": MemoryPlan}
    __slots__ = ("model", "is_hot", "is_warm", "fits", "memory", "free_bytes", "budget_bytes", "leaving", "at_work")

    def __init__(
        self,
        *,
        model: str,
        is_hot: bool = False,
        is_warm: bool = False,
        fits: bool = False,
        memory: MemoryPlan | None = None,
        free_bytes: int = 0,
        budget_bytes: int = 0,
        leaving: list[str] | None = None,
        at_work: list[str] | None = None,
    ) -> None:
        self.model = model
        self.is_hot = is_hot
        self.is_warm = is_warm
        self.fits = fits
        self.memory = MemoryPlan() if memory is None else memory
        self.free_bytes = free_bytes
        self.budget_bytes = budget_bytes
        self.leaving = [] if leaving is None else leaving
        self.at_work = [] if at_work is None else at_work


class Generate(Struct):
    """Continue a chat. Followed by `token` and `progress` events, ended by `generated`.

    model: id from model_offered, or the name of a public model
    messages: the chat so far; the model answers as assistant
    max_tokens: most tokens to generate
    temperature: 0: always the likeliest token (greedy); higher: more varied
    top_k: choose among the k likeliest tokens; 0: no limit
    top_p: choose among the likeliest tokens that together reach this probability; 1: no limit
    min_p: drop tokens less likely than this fraction of the likeliest; 0: no limit
    typical_p: choose among the tokens whose surprise is nearest to what is expected here, that together reach this probability; 1: no limit
    repetition_penalty: above 1: tokens already in prompt or answer become less likely
    presence_penalty: subtracted from the logit of each token already in the answer
    frequency_penalty: subtracted from the logit of each token for every time it is already in the answer
    no_repeat_ngram: no run of so many tokens comes twice in prompt and answer; 0: no limit
    answers: how many answers, each with random numbers of its own; the prompt is computed once
    beams: beam search over so many candidates, without chance; 1: off. At least as many as answers
    length_penalty: beam search: scores are divided by length to this power; above 0 favours long answers
    thinking: whether the model thinks before it answers; auto: as its own template has it
    thinking_tokens: most tokens of thoughts; then they are closed and the answer begins; 0: no limit
    json_schema: the answer is JSON that matches this JSON schema; {} for any JSON; empty: free text
    regex: the whole answer matches this regular expression; empty: free text
    seed: same seed, same words, whoever else is served
    stop: end before the first of these strings; an empty string is refused
    model_defaults: take how words are chosen (temperature, top_k, top_p, min_p, typical_p, penalties, no_repeat_ngram) from the model's generation_config.json where it says
    min_pixels: smallest picture area after resizing; 0: the model's own
    max_pixels: largest picture area after resizing; 0: the model's own
    priority: who waits for whom when there is a queue; whoever has waited long moves up
    key: random id of this request: sent again with the same key it does not run twice; empty: none
    result_key: names all that the answer depends on and the service does not see, above all the pictures' content: an equal request of the same user with the same result_key is answered from the result cache; empty: not cached
    """

    NAME = "generate"
    TYPE = 32
    KIND = "request"
    REQUIRED = ("model", "messages")
    NESTED = {"messages": ChatMessage}
    __slots__ = ("model", "messages", "max_tokens", "temperature", "top_k", "top_p", "min_p", "typical_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "no_repeat_ngram", "answers", "beams", "length_penalty", "thinking", "thinking_tokens", "json_schema", "regex", "seed", "stop", "model_defaults", "min_pixels", "max_pixels", "priority", "key", "result_key")

    def __init__(
        self,
        *,
        model: str,
        messages: list[ChatMessage],
        max_tokens: int = 512,
        temperature: float = 0.7,
        top_k: int = 20,
        top_p: float = 0.8,
        min_p: float = 0.0,
        typical_p: float = 1.0,
        repetition_penalty: float = 1.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        no_repeat_ngram: int = 0,
        answers: int = 1,
        beams: int = 1,
        length_penalty: float = 1.0,
        thinking: str = "auto",
        thinking_tokens: int = 0,
        json_schema: str = "",
        regex: str = "",
        seed: int = 0,
        stop: list[str] | None = None,
        model_defaults: bool = False,
        min_pixels: int = 0,
        max_pixels: int = 0,
        priority: str = "interactive",
        key: str = "",
        result_key: str = "",
    ) -> None:
        self.model = model
        self.messages = messages
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self.min_p = min_p
        self.typical_p = typical_p
        self.repetition_penalty = repetition_penalty
        self.presence_penalty = presence_penalty
        self.frequency_penalty = frequency_penalty
        self.no_repeat_ngram = no_repeat_ngram
        self.answers = answers
        self.beams = beams
        self.length_penalty = length_penalty
        self.thinking = thinking
        self.thinking_tokens = thinking_tokens
        self.json_schema = json_schema
        self.regex = regex
        self.seed = seed
        self.stop = [] if stop is None else stop
        self.model_defaults = model_defaults
        self.min_pixels = min_pixels
        self.max_pixels = max_pixels
        self.priority = priority
        self.key = key
        self.result_key = result_key


class Token(Struct):
    """New text. Pieces joined in order are the reply's text; each is whole UTF-8.

    text: may be empty when the token only begins a character
    token_ids: i32 little endian
    answer: which of the request's answers it belongs to, from 0
    thinking: a piece of the thoughts, not of the text
    """

    NAME = "token"
    TYPE = 33
    KIND = "event"
    REQUIRED = ("text", "token_ids")
    __slots__ = ("text", "token_ids", "answer", "thinking")

    def __init__(
        self,
        *,
        text: str,
        token_ids: bytes,
        answer: int = 0,
        thinking: bool = False,
    ) -> None:
        self.text = text
        self.token_ids = token_ids
        self.answer = answer
        self.thinking = thinking


class Progress(Struct):
    """How far a request is. Sent at most ten times a second; may be dropped.

    stage: what happens now
    done: of total; bytes while loading, else tokens
    total: 0: unknown
    """

    NAME = "progress"
    TYPE = 34
    KIND = "event"
    REQUIRED = ("stage",)
    __slots__ = ("stage", "done", "total")

    def __init__(
        self,
        *,
        stage: str,
        done: int = 0,
        total: int = 0,
    ) -> None:
        self.stage = stage
        self.done = done
        self.total = total


class InputsDone(Struct):
    """The service has read the request's tensors: their memory may be used again."""

    NAME = "inputs_done"
    TYPE = 35
    KIND = "event"
    __slots__ = ()


class Generated(Struct):
    """The whole answer.

    text: without stop token, stop string and thoughts
    thinking: the model's thoughts before the text
    thinking_closed: the thoughts reached thinking_tokens and were closed
    token_ids: generated ids, stop token included; i32 little endian
    prompt_token_ids: ids of the whole prompt, picture tokens expanded; i32 little endian
    token_us: for each generated id the microseconds since the one before, 0 for the first; i32 little endian; empty when the answer was kept
    stop_reason: why it ended
    score: as in answer
    others: the second answer and those after it; beam search: the best is first
    pictures: in the order of their parts
    coordinates: what numbers of boxes and points in the text count: thousandths of a picture's sides, or pixels of the picture as it was seen
    receipt: where the time went
    warnings: what a careful user should know
    """

    NAME = "generated"
    TYPE = 36
    KIND = "reply"
    REQUIRED = ("text", "token_ids", "prompt_token_ids", "token_us", "stop_reason", "receipt")
    NESTED = {"others": Answer, "pictures": SeenPicture, "receipt": Receipt}
    __slots__ = ("text", "thinking", "thinking_closed", "token_ids", "prompt_token_ids", "token_us", "stop_reason", "score", "others", "pictures", "coordinates", "receipt", "warnings")

    def __init__(
        self,
        *,
        text: str,
        thinking: str = "",
        thinking_closed: bool = False,
        token_ids: bytes,
        prompt_token_ids: bytes,
        token_us: bytes,
        stop_reason: str,
        score: float = 0.0,
        others: list[Answer] | None = None,
        pictures: list[SeenPicture] | None = None,
        coordinates: str = "none",
        receipt: Receipt,
        warnings: list[str] | None = None,
    ) -> None:
        self.text = text
        self.thinking = thinking
        self.thinking_closed = thinking_closed
        self.token_ids = token_ids
        self.prompt_token_ids = prompt_token_ids
        self.token_us = token_us
        self.stop_reason = stop_reason
        self.score = score
        self.others = [] if others is None else others
        self.pictures = [] if pictures is None else pictures
        self.coordinates = coordinates
        self.receipt = receipt
        self.warnings = [] if warnings is None else warnings


class Encode(Struct):
    """Hidden states of a chat's prompt, for programs that condition on them. Followed by `progress` events, ended by `encoded`.

    model: id from model_offered, or the name of a public model
    messages: the chat to encode
    layers: which hidden states: 0 is the embeddings, i the output of layer i; -1 the last, after the final norm; -2 the one before, and so on
    dtype: element type of the result; model: the model's own
    generation_prompt: end the prompt with the opening of an assistant's turn
    min_pixels: smallest picture area after resizing; 0: the model's own
    max_pixels: largest picture area after resizing; 0: the model's own
    priority: as in generate
    key: as in generate
    """

    NAME = "encode"
    TYPE = 37
    KIND = "request"
    REQUIRED = ("model", "messages", "layers")
    NESTED = {"messages": ChatMessage}
    __slots__ = ("model", "messages", "layers", "dtype", "generation_prompt", "min_pixels", "max_pixels", "priority", "key")

    def __init__(
        self,
        *,
        model: str,
        messages: list[ChatMessage],
        layers: list[int],
        dtype: str = "model",
        generation_prompt: bool = True,
        min_pixels: int = 0,
        max_pixels: int = 0,
        priority: str = "interactive",
        key: str = "",
    ) -> None:
        self.model = model
        self.messages = messages
        self.layers = layers
        self.dtype = dtype
        self.generation_prompt = generation_prompt
        self.min_pixels = min_pixels
        self.max_pixels = max_pixels
        self.priority = priority
        self.key = key


class Encoded(Struct):
    """The hidden states, in out arenas: one tensor [tokens, hidden] for each layer asked for, in that order. Whoever has read them sends `release`.

    tensors: [tokens, hidden] each
    prompt_token_ids: ids of the prompt, picture tokens expanded; i32 little endian
    receipt: where the time went
    warnings: what a careful user should know
    """

    NAME = "encoded"
    TYPE = 38
    KIND = "reply"
    REQUIRED = ("tensors", "prompt_token_ids", "receipt")
    NESTED = {"tensors": Tensor, "receipt": Receipt}
    __slots__ = ("tensors", "prompt_token_ids", "receipt", "warnings")

    def __init__(
        self,
        *,
        tensors: list[Tensor],
        prompt_token_ids: bytes,
        receipt: Receipt,
        warnings: list[str] | None = None,
    ) -> None:
        self.tensors = tensors
        self.prompt_token_ids = prompt_token_ids
        self.receipt = receipt
        self.warnings = [] if warnings is None else warnings


class CountTokens(Struct):
    """What a chat would take, without running it. The model need not be loaded; pixels are not read.

    model: id from model_offered, or the name of a public model
    messages: as in generate; of tensors only the shape counts
    thinking: as in generate
    min_pixels: as in generate
    max_pixels: as in generate
    """

    NAME = "count_tokens"
    TYPE = 39
    KIND = "request"
    REQUIRED = ("model", "messages")
    NESTED = {"messages": ChatMessage}
    __slots__ = ("model", "messages", "thinking", "min_pixels", "max_pixels")

    def __init__(
        self,
        *,
        model: str,
        messages: list[ChatMessage],
        thinking: str = "auto",
        min_pixels: int = 0,
        max_pixels: int = 0,
    ) -> None:
        self.model = model
        self.messages = messages
        self.thinking = thinking
        self.min_pixels = min_pixels
        self.max_pixels = max_pixels


class TokensCounted(Struct):
    """Answer to count_tokens.

    prompt_tokens: of the whole prompt
    image_tokens: of these, of pictures and videos
    context_tokens: what prompt and answer may have together
    pictures: in the order of their parts
    """

    NAME = "tokens_counted"
    TYPE = 40
    KIND = "reply"
    REQUIRED = ("prompt_tokens", "context_tokens")
    NESTED = {"pictures": SeenPicture}
    __slots__ = ("prompt_tokens", "image_tokens", "context_tokens", "pictures")

    def __init__(
        self,
        *,
        prompt_tokens: int,
        image_tokens: int = 0,
        context_tokens: int,
        pictures: list[SeenPicture] | None = None,
    ) -> None:
        self.prompt_tokens = prompt_tokens
        self.image_tokens = image_tokens
        self.context_tokens = context_tokens
        self.pictures = [] if pictures is None else pictures


class Done(Struct):
    """What was asked for has happened.

    text: what there is to say about it
    """

    NAME = "done"
    TYPE = 41
    KIND = "reply"
    __slots__ = ("text",)

    def __init__(
        self,
        *,
        text: str = "",
    ) -> None:
        self.text = text


class ListJobs(Struct):
    """What is at work and what waits. Administrators see all jobs, others those of their user."""

    NAME = "list_jobs"
    TYPE = 42
    KIND = "request"
    __slots__ = ()


class JobList(Struct):
    """Answer to list_jobs.

    jobs: running first, then in the order in which they will be served; at most 1024
    """

    NAME = "job_list"
    TYPE = 43
    KIND = "reply"
    NESTED = {"jobs": JobEntry}
    __slots__ = ("jobs",)

    def __init__(
        self,
        *,
        jobs: list[JobEntry] | None = None,
    ) -> None:
        self.jobs = [] if jobs is None else jobs


class CancelJob(Struct):
    """End a request as its own client can, from outside: of one's own user; administrators anybody's. Answered by done.

    job: from list_jobs
    """

    NAME = "cancel_job"
    TYPE = 44
    KIND = "request"
    REQUIRED = ("job",)
    __slots__ = ("job",)

    def __init__(
        self,
        *,
        job: int,
    ) -> None:
        self.job = job


class KickClient(Struct):
    """Administrators: close a connection; all that it holds is taken back. Answered by done.

    connection: from status
    """

    NAME = "kick_client"
    TYPE = 45
    KIND = "request"
    REQUIRED = ("connection",)
    __slots__ = ("connection",)

    def __init__(
        self,
        *,
        connection: int,
    ) -> None:
        self.connection = connection


class PinModel(Struct):
    """Administrators: the model does not leave the device to make room or for being idle. Answered by done.

    model: id or name from list_models
    pin: false: it may leave again
    """

    NAME = "pin_model"
    TYPE = 46
    KIND = "request"
    REQUIRED = ("model",)
    __slots__ = ("model", "pin")

    def __init__(
        self,
        *,
        model: str,
        pin: bool = True,
    ) -> None:
        self.model = model
        self.pin = pin


class EvictModel(Struct):
    """A model leaves the device. Who holds it may ask; administrators for any, pinned ones too. busy: it is at work. Answered by memory_freed.

    model: id or name from list_models
    to: warm: its weights rest in pinned memory if there is room; cold: all of it goes
    """

    NAME = "evict_model"
    TYPE = 47
    KIND = "request"
    REQUIRED = ("model",)
    __slots__ = ("model", "to")

    def __init__(
        self,
        *,
        model: str,
        to: str = "cold",
    ) -> None:
        self.model = model
        self.to = to


class Drain(Struct):
    """Administrators: take no new requests, let the open ones end. Clients are told and their retries wait. Answered by done when none is open; those still open when the time is over end with shutting_down.

    timeout_ms: how long open requests may take
    then: stay: until resume; stop: the service ends
    """

    NAME = "drain"
    TYPE = 48
    KIND = "request"
    __slots__ = ("timeout_ms", "then")

    def __init__(
        self,
        *,
        timeout_ms: int = 45000,
        then: str = "stay",
    ) -> None:
        self.timeout_ms = timeout_ms
        self.then = then


class Suspend(Struct):
    """Administrators: the machine will sleep. Requests at work end, new ones wait; models leave the device and are cold afterwards; the engine process ends. Answered by done.

    timeout_ms: after which requests at work are put back to the queue if nothing of them was sent yet, else end with worker_lost
    """

    NAME = "suspend"
    TYPE = 49
    KIND = "request"
    __slots__ = ("timeout_ms",)

    def __init__(
        self,
        *,
        timeout_ms: int = 10000,
    ) -> None:
        self.timeout_ms = timeout_ms


class Resume(Struct):
    """Administrators: take requests again after drain or suspend. Answered by done."""

    NAME = "resume"
    TYPE = 50
    KIND = "request"
    __slots__ = ()


class ClearQuarantine(Struct):
    """Administrators: give models that ended the engine another chance. Answered by done.

    model: id or name; empty: all of them
    """

    NAME = "clear_quarantine"
    TYPE = 51
    KIND = "request"
    __slots__ = ("model",)

    def __init__(
        self,
        *,
        model: str = "",
    ) -> None:
        self.model = model


class ShowConfig(Struct):
    """The settings that count."""

    NAME = "show_config"
    TYPE = 52
    KIND = "request"
    __slots__ = ()


class ConfigList(Struct):
    """Answer to show_config.

    values: all settings, in the order of docs/config.md
    files: that were read, later ones win
    """

    NAME = "config_list"
    TYPE = 53
    KIND = "reply"
    NESTED = {"values": ConfigValue}
    __slots__ = ("values", "files")

    def __init__(
        self,
        *,
        values: list[ConfigValue] | None = None,
        files: list[str] | None = None,
    ) -> None:
        self.values = [] if values is None else values
        self.files = [] if files is None else files


class ReloadConfig(Struct):
    """Administrators: read the configuration files again. All of it counts or, if anything is wrong, nothing.

    apply: false: only say what would change
    """

    NAME = "reload_config"
    TYPE = 54
    KIND = "request"
    __slots__ = ("apply",)

    def __init__(
        self,
        *,
        apply: bool = True,
    ) -> None:
        self.apply = apply


class ConfigReport(Struct):
    """Answer to reload_config.

    applied: the settings that take effect live count from here on
    changes: what differs from what runs
    problems: FILE:LINE: what is wrong; with any, nothing was applied
    """

    NAME = "config_report"
    TYPE = 55
    KIND = "reply"
    NESTED = {"changes": ConfigChange}
    __slots__ = ("applied", "changes", "problems")

    def __init__(
        self,
        *,
        applied: bool = False,
        changes: list[ConfigChange] | None = None,
        problems: list[str] | None = None,
    ) -> None:
        self.applied = applied
        self.changes = [] if changes is None else changes
        self.problems = [] if problems is None else problems


class ListRequests(Struct):
    """Requests that ended. Administrators see all, others those of their user.

    before: only those with a smaller number; 0: from the latest
    limit: at most so many
    """

    NAME = "list_requests"
    TYPE = 56
    KIND = "request"
    __slots__ = ("before", "limit")

    def __init__(
        self,
        *,
        before: int = 0,
        limit: int = 256,
    ) -> None:
        self.before = before
        self.limit = limit


class RequestList(Struct):
    """Answer to list_requests.

    requests: latest first
    more: there are older ones
    """

    NAME = "request_list"
    TYPE = 57
    KIND = "reply"
    NESTED = {"requests": RequestRecord}
    __slots__ = ("requests", "more")

    def __init__(
        self,
        *,
        requests: list[RequestRecord] | None = None,
        more: bool = False,
    ) -> None:
        self.requests = [] if requests is None else requests
        self.more = more


class Metrics(Struct):
    """The service's metrics. docs/metrics.md lists them."""

    NAME = "metrics"
    TYPE = 58
    KIND = "request"
    __slots__ = ()


class MetricsText(Struct):
    """Answer to metrics.

    text: Prometheus text exposition format 0.0.4
    """

    NAME = "metrics_text"
    TYPE = 59
    KIND = "reply"
    REQUIRED = ("text",)
    __slots__ = ("text",)

    def __init__(
        self,
        *,
        text: str,
    ) -> None:
        self.text = text


class Upgrade(Struct):
    """Administrators: the broker replaces itself by the program that is installed at its path, and nobody is disconnected. Answered by done, by the new process; by an error when the new program does not pass its own check, and then nothing has changed."""

    NAME = "upgrade"
    TYPE = 60
    KIND = "request"
    __slots__ = ()


class WorkerReady(Struct):
    """First frame of a worker: it can take work. Sent once more, with the bandwidth, when that was measured; nothing else may differ then.

    device: what it computes on
    slots: free sequence slots: the broker dispatches at most so many generate requests
    families: families built in
    remarks: for the log: no GPU found, computing on the CPU
    """

    NAME = "worker_ready"
    TYPE = 64
    KIND = "link"
    REQUIRED = ("device", "slots", "families")
    NESTED = {"device": Device}
    __slots__ = ("device", "slots", "families", "remarks")

    def __init__(
        self,
        *,
        device: Device,
        slots: int,
        families: list[str],
        remarks: list[str] | None = None,
    ) -> None:
        self.device = device
        self.slots = slots
        self.families = families
        self.remarks = [] if remarks is None else remarks


class AttachArena(Struct):
    """Carries the arena's descriptor, which the worker maps read-only.

    arena: id in tensor descriptors
    nbytes: exact size
    """

    NAME = "attach_arena"
    TYPE = 65
    KIND = "link"
    REQUIRED = ("arena", "nbytes")
    __slots__ = ("arena", "nbytes")

    def __init__(
        self,
        *,
        arena: int,
        nbytes: int,
    ) -> None:
        self.arena = arena
        self.nbytes = nbytes


class DetachArena(Struct):
    """No new request will name this arena. The worker unmaps it when the last running one ends.

    arena: id
    """

    NAME = "detach_arena"
    TYPE = 66
    KIND = "link"
    REQUIRED = ("arena",)
    __slots__ = ("arena",)

    def __init__(
        self,
        *,
        arena: int,
    ) -> None:
        self.arena = arena


class AttachModel(Struct):
    """Carries the model's descriptors. Answered by model_offered or error.

    model: id the broker gave
    name: for the log
    labels: as in offer_model
    dtype: as in offer_model
    head: as in offer_model
    attention: as in offer_model
    """

    NAME = "attach_model"
    TYPE = 67
    KIND = "link"
    REQUIRED = ("model", "name", "labels")
    __slots__ = ("model", "name", "labels", "dtype", "head", "attention")

    def __init__(
        self,
        *,
        model: str,
        name: str,
        labels: list[str],
        dtype: str = "auto",
        head: str = "auto",
        attention: str = "auto",
    ) -> None:
        self.model = model
        self.name = name
        self.labels = labels
        self.dtype = dtype
        self.head = head
        self.attention = attention


class DetachModel(Struct):
    """Close the model's files and forget it. Sent only after it was unloaded.

    model: id
    """

    NAME = "detach_model"
    TYPE = 68
    KIND = "link"
    REQUIRED = ("model",)
    __slots__ = ("model",)

    def __init__(
        self,
        *,
        model: str,
    ) -> None:
        self.model = model


class StopWorker(Struct):
    """End now; answer nothing more."""

    NAME = "stop_worker"
    TYPE = 69
    KIND = "link"
    __slots__ = ()


class AssignJob(Struct):
    """Says whose the job of this request id is. Precedes every job.

    user: user id of the client: caches are kept apart by it
    client: connection whose out arenas the results go to
    out_bytes: bytes of out arenas that may still be created for it
    """

    NAME = "assign_job"
    TYPE = 70
    KIND = "link"
    REQUIRED = ("client", "out_bytes")
    __slots__ = ("user", "client", "out_bytes")

    def __init__(
        self,
        *,
        user: int = 0,
        client: int,
        out_bytes: int,
    ) -> None:
        self.user = user
        self.client = client
        self.out_bytes = out_bytes


class LendArena(Struct):
    """From the worker: a new out arena for a client. Precedes the first reply that names it.

    client: as in assign_job
    arena: the worker's own id, in the tensors of its replies; the broker translates
    nbytes: exact size
    """

    NAME = "lend_arena"
    TYPE = 71
    KIND = "link"
    REQUIRED = ("client", "arena", "nbytes")
    __slots__ = ("client", "arena", "nbytes")

    def __init__(
        self,
        *,
        client: int,
        arena: int,
        nbytes: int,
    ) -> None:
        self.client = client
        self.arena = arena
        self.nbytes = nbytes


class TakeBackArena(Struct):
    """From the worker: this out arena was empty for a while and is gone.

    arena: the worker's own id
    """

    NAME = "take_back_arena"
    TYPE = 72
    KIND = "link"
    REQUIRED = ("arena",)
    __slots__ = ("arena",)

    def __init__(
        self,
        *,
        arena: int,
    ) -> None:
        self.arena = arena


class ReleaseSlots(Struct):
    """The client no longer needs these results.

    arena: the worker's own id
    offsets: where the slots begin
    """

    NAME = "release_slots"
    TYPE = 73
    KIND = "link"
    REQUIRED = ("arena", "offsets")
    __slots__ = ("arena", "offsets")

    def __init__(
        self,
        *,
        arena: int,
        offsets: list[int],
    ) -> None:
        self.arena = arena
        self.offsets = offsets


class ForgetClient(Struct):
    """The client is gone: its out arenas and everything in them are free. Jobs of it have been cancelled.

    client: as in assign_job
    """

    NAME = "forget_client"
    TYPE = 74
    KIND = "link"
    REQUIRED = ("client",)
    __slots__ = ("client",)

    def __init__(
        self,
        *,
        client: int,
    ) -> None:
        self.client = client


class Computed(Struct):
    """From the worker: the job of this request id holds no sequence slot any more; its result may still wait for room in shared memory."""

    NAME = "computed"
    TYPE = 75
    KIND = "link"
    __slots__ = ()


class CacheReport(Struct):
    """From the worker: its caches as they are now. Sent when a job has ended, at most once a second.

    caches: of all loaded models
    """

    NAME = "cache_report"
    TYPE = 76
    KIND = "link"
    NESTED = {"caches": CacheEntry}
    __slots__ = ("caches",)

    def __init__(
        self,
        *,
        caches: list[CacheEntry] | None = None,
    ) -> None:
        self.caches = [] if caches is None else caches


class RestModel(Struct):
    """The model leaves the device and its weights stay in pinned memory: load_model copies them back. Answered by model_unloaded once nothing is left on the device; when there is no pinned memory, the model is dropped.

    model: id
    """

    NAME = "rest_model"
    TYPE = 77
    KIND = "link"
    REQUIRED = ("model",)
    __slots__ = ("model",)

    def __init__(
        self,
        *,
        model: str,
    ) -> None:
        self.model = model


class ForgetImage(Struct):
    """Give the pinned memory of this model's weights back. A model that rests is dropped with it; a hot one stays hot.

    model: id
    """

    NAME = "forget_image"
    TYPE = 78
    KIND = "link"
    REQUIRED = ("model",)
    __slots__ = ("model",)

    def __init__(
        self,
        *,
        model: str,
    ) -> None:
        self.model = model


class WeightsCache(Struct):
    """Precedes load_model of a model whose weights are rounded: the file that keeps them on disk, beyond this process.

    model: id
    writes: true: the file is empty and to be written; false: it holds them
    most_bytes: of a file that is written
    keep_free: bytes of the disk that it has to leave free
    """

    NAME = "weights_cache"
    TYPE = 79
    KIND = "link"
    REQUIRED = ("model", "writes", "most_bytes", "keep_free")
    __slots__ = ("model", "writes", "most_bytes", "keep_free")

    def __init__(
        self,
        *,
        model: str,
        writes: bool,
        most_bytes: int,
        keep_free: int,
    ) -> None:
        self.model = model
        self.writes = writes
        self.most_bytes = most_bytes
        self.keep_free = keep_free


class WeightsCached(Struct):
    """From the worker: what became of the file of weights_cache. Follows load_model's answer.

    model: id
    outcome: failed: it could not be written; damaged: what it held was not what was written, or of other weights, and the model's own files were read
    nbytes: size of the file, or what it would have been if too_large, disk_full or failed
    """

    NAME = "weights_cached"
    TYPE = 80
    KIND = "link"
    REQUIRED = ("model", "outcome")
    __slots__ = ("model", "outcome", "nbytes")

    def __init__(
        self,
        *,
        model: str,
        outcome: str,
        nbytes: int = 0,
    ) -> None:
        self.model = model
        self.outcome = outcome
        self.nbytes = nbytes


class Beat(Struct):
    """From the worker, once a second and when the phase changes: what its engine is doing. The broker ends a process whose phase takes longer than it may.

    phase: what the engine's thread is in
    model: id of the model it is about
    steps: rises with every token, layer, picture or tensor done: a phase that moves is not stuck
    since_ms: since steps last rose
    device_state: now; while idle without numbers
    """

    NAME = "beat"
    TYPE = 81
    KIND = "link"
    REQUIRED = ("phase",)
    NESTED = {"device_state": DeviceState}
    __slots__ = ("phase", "model", "steps", "since_ms", "device_state")

    def __init__(
        self,
        *,
        phase: str,
        model: str = "",
        steps: int = 0,
        since_ms: int = 0,
        device_state: DeviceState | None = None,
    ) -> None:
        self.phase = phase
        self.model = model
        self.steps = steps
        self.since_ms = since_ms
        self.device_state = DeviceState() if device_state is None else device_state


class LastWords(Struct):
    """From the worker, before it ends itself: what made it useless.

    cause: sticky: the CUDA context is broken for good; device_lost: the device has left the bus or needs a reset
    what: the failing call and the driver's words
    """

    NAME = "last_words"
    TYPE = 82
    KIND = "link"
    REQUIRED = ("cause", "what")
    __slots__ = ("cause", "what")

    def __init__(
        self,
        *,
        cause: str,
        what: str,
    ) -> None:
        self.cause = cause
        self.what = what


BY_TYPE: dict[int, type[Struct]] = {
    1: Hello,
    2: Welcome,
    3: Error,
    4: Cancel,
    5: Goaway,
    6: Ping,
    7: Pong,
    8: ArenaAsk,
    9: ArenaGrant,
    10: ArenaDrop,
    11: ArenaDropped,
    12: OutArena,
    13: OutArenaGone,
    14: Release,
    15: Released,
    16: OfferModel,
    17: ModelOffered,
    18: LoadModel,
    19: ModelLoaded,
    20: UnloadModel,
    21: ModelUnloaded,
    22: ListModels,
    23: ModelList,
    24: Status,
    25: StatusReport,
    26: FreeMemory,
    27: MemoryFreed,
    28: PlanLoad,
    29: LoadPlan,
    32: Generate,
    33: Token,
    34: Progress,
    35: InputsDone,
    36: Generated,
    37: Encode,
    38: Encoded,
    39: CountTokens,
    40: TokensCounted,
    41: Done,
    42: ListJobs,
    43: JobList,
    44: CancelJob,
    45: KickClient,
    46: PinModel,
    47: EvictModel,
    48: Drain,
    49: Suspend,
    50: Resume,
    51: ClearQuarantine,
    52: ShowConfig,
    53: ConfigList,
    54: ReloadConfig,
    55: ConfigReport,
    56: ListRequests,
    57: RequestList,
    58: Metrics,
    59: MetricsText,
    60: Upgrade,
    64: WorkerReady,
    65: AttachArena,
    66: DetachArena,
    67: AttachModel,
    68: DetachModel,
    69: StopWorker,
    70: AssignJob,
    71: LendArena,
    72: TakeBackArena,
    73: ReleaseSlots,
    74: ForgetClient,
    75: Computed,
    76: CacheReport,
    77: RestModel,
    78: ForgetImage,
    79: WeightsCache,
    80: WeightsCached,
    81: Beat,
    82: LastWords,
}

# Type: bytes of the longest text that the message may hold
LONGEST_TEXTS: dict[int, int] = {
    1: 128,
    2: 256,
    3: 4096,
    5: 256,
    16: 256,
    17: 64,
    18: 64,
    19: 64,
    20: 64,
    23: 256,
    25: 4096,
    28: 64,
    29: 64,
    32: 262144,
    33: 262144,
    36: 262144,
    37: 262144,
    38: 256,
    39: 262144,
    41: 4096,
    43: 256,
    46: 64,
    47: 64,
    51: 64,
    53: 4096,
    55: 4096,
    57: 1024,
    59: 1000000,
    64: 256,
    67: 256,
    68: 64,
    76: 64,
    77: 64,
    78: 64,
    79: 64,
    80: 64,
    81: 256,
    82: 1024,
}

# Code: (what it means, what the user can do, whether to try again)
ERRORS: dict[str, tuple[str, str, bool]] = {
    "bad_request": ("The message is malformed or a parameter is out of range.", "Correct the named field and send the request again.", False),
    "bad_tensor": ("A tensor descriptor does not describe bytes the client may show.", "Send a contiguous tensor inside an arena granted on this connection.", False),
    "bad_picture": ("A picture cannot be used: empty, not finite, or of an impossible shape.", "Check the picture that the message names.", False),
    "unknown_message": ("This service does not know the message type.", "Update hearth: the client is newer than the service.", False),
    "version": ("Client and service speak no common protocol version.", "Update the older of the two; both versions are in the message.", False),
    "unsupported": ("hearth cannot do this, and does not pretend to.", "See the message for what is supported instead.", False),
    "unknown_model": ("No such model was offered by this client or published by the service.", "Offer the model first, or list what is there.", False),
    "bad_model": ("The model's files are incomplete, damaged or of a kind hearth refuses.", "The message names the file and the tensor or key.", False),
    "model_changed": ("A model file changed after it was offered.", "Offer the model again.", False),
    "too_long": ("Prompt and answer do not fit into the model's context.", "Shorten the prompt, use smaller pictures or lower max_tokens.", False),
    "busy": ("A limit of this connection or of the service is reached.", "Wait for open requests to end and try again.", True),
    "out_of_arena": ("The results this client holds fill the shared memory it may have.", "Release results that are no longer needed, or copy them and release them at once.", True),
    "out_of_memory": ("Not enough memory on the device or in the arena.", "Unload a model or use a smaller one; the message has the numbers.", False),
    "cancelled": ("The client cancelled the request.", "", False),
    "worker_lost": ("The engine process ended while the request was open; a new one is starting.", "Send the request again.", True),
    "shutting_down": ("The service is stopping.", "Send the request again when the service is back.", True),
    "not_reachable": ("The service does not answer (made by the client library, never sent).", "Start it: `hearthd` in a terminal, or `systemctl --user start hearthd`.", True),
    "not_finite": ("The model produced NaN or infinite logits.", "Load it with dtype float32, and report the model if that helps.", False),
    "denied": ("Only an administrator of the service may do this.", "Run it as the user who runs the service, as root, or as a member of the service's admin group.", False),
    "quarantined": ("The model ended the engine process repeatedly and is refused for a while.", "`hearth quarantine list` shows why and for how long; `hearth quarantine clear` gives it another chance.", False),
    "device_failed": ("The device cannot be used.", "`hearth doctor` says what is wrong with it.", False),
    "timed_out": ("What was asked for has not happened in the time allowed.", "Allow more time, or see with `hearth status` what it waits for.", True),
    "internal": ("A defect in hearth.", "Please report it with the service's log.", False),
}

WIDGETS: dict[str, dict[str, dict[str, Any]]] = {
    "arena_ask": {
        "direction": {"default": "in", "choices": ["in"], "tooltip": "in: written and allocated by the client"},
    },
    "offer_model": {
        "dtype": {"default": "auto", "choices": ["auto", "float32", "bfloat16", "float8", "int8", "int4"], "tooltip": "what the weights are kept in; auto: as the checkpoint has them. float8, int8 and int4 round the decoder's linears while loading and compute in bfloat16"},
        "head": {"default": "auto", "choices": ["auto", "bfloat16"], "tooltip": "what the output layer is kept in when dtype rounds; auto: int8"},
        "attention": {"default": "auto", "choices": ["auto", "flash", "sdpa", "eager"], "tooltip": "to find faults with: who computes attention over prompts and pictures. auto: the fastest; flash: hearth's fused kernel; sdpa: libtorch's; eager: every step on its own, in float32. All agree within rounding"},
    },
    "free_memory": {
        "nbytes": {"default": 0, "tooltip": "device memory to give back; 0: all that is idle"},
    },
    "generate": {
        "max_tokens": {"default": 512, "min": 1, "max": 32768, "step": 1, "tooltip": "most tokens to generate"},
        "temperature": {"default": 0.7, "min": 0.0, "max": 2.0, "step": 0.05, "tooltip": "0: always the likeliest token (greedy); higher: more varied"},
        "top_k": {"default": 20, "min": 0, "max": 1000, "step": 1, "tooltip": "choose among the k likeliest tokens; 0: no limit"},
        "top_p": {"default": 0.8, "min": 0.0, "max": 1.0, "step": 0.01, "tooltip": "choose among the likeliest tokens that together reach this probability; 1: no limit"},
        "min_p": {"default": 0.0, "min": 0.0, "max": 1.0, "step": 0.01, "tooltip": "drop tokens less likely than this fraction of the likeliest; 0: no limit"},
        "typical_p": {"default": 1.0, "min": 0.0, "max": 1.0, "step": 0.01, "tooltip": "choose among the tokens whose surprise is nearest to what is expected here, that together reach this probability; 1: no limit"},
        "repetition_penalty": {"default": 1.0, "min": 0.1, "max": 5.0, "step": 0.01, "tooltip": "above 1: tokens already in prompt or answer become less likely"},
        "presence_penalty": {"default": 0.0, "min": -2.0, "max": 2.0, "step": 0.05, "tooltip": "subtracted from the logit of each token already in the answer"},
        "frequency_penalty": {"default": 0.0, "min": -2.0, "max": 2.0, "step": 0.05, "tooltip": "subtracted from the logit of each token for every time it is already in the answer"},
        "no_repeat_ngram": {"default": 0, "min": 0, "max": 64, "step": 1, "tooltip": "no run of so many tokens comes twice in prompt and answer; 0: no limit"},
        "answers": {"default": 1, "min": 1, "max": 8, "step": 1, "tooltip": "how many answers, each with random numbers of its own; the prompt is computed once"},
        "beams": {"default": 1, "min": 1, "max": 8, "step": 1, "tooltip": "beam search over so many candidates, without chance; 1: off. At least as many as answers"},
        "length_penalty": {"default": 1.0, "min": -5.0, "max": 5.0, "step": 0.1, "tooltip": "beam search: scores are divided by length to this power; above 0 favours long answers"},
        "thinking": {"default": "auto", "choices": ["auto", "on", "off"], "tooltip": "whether the model thinks before it answers; auto: as its own template has it"},
        "thinking_tokens": {"default": 0, "min": 0, "max": 32768, "step": 1, "tooltip": "most tokens of thoughts; then they are closed and the answer begins; 0: no limit"},
        "json_schema": {"default": "", "tooltip": "the answer is JSON that matches this JSON schema; {} for any JSON; empty: free text"},
        "regex": {"default": "", "tooltip": "the whole answer matches this regular expression; empty: free text"},
        "seed": {"default": 0, "min": 0, "max": 18446744073709551615, "step": 1, "tooltip": "same seed, same words, whoever else is served"},
        "model_defaults": {"default": False, "tooltip": "take how words are chosen (temperature, top_k, top_p, min_p, typical_p, penalties, no_repeat_ngram) from the model's generation_config.json where it says"},
        "min_pixels": {"default": 0, "min": 0, "max": 268435456, "step": 1, "tooltip": "smallest picture area after resizing; 0: the model's own"},
        "max_pixels": {"default": 0, "min": 0, "max": 268435456, "step": 1, "tooltip": "largest picture area after resizing; 0: the model's own"},
        "priority": {"default": "interactive", "choices": ["interactive", "batch", "maintenance"], "tooltip": "who waits for whom when there is a queue; whoever has waited long moves up"},
        "key": {"default": "", "tooltip": "random id of this request: sent again with the same key it does not run twice; empty: none"},
        "result_key": {"default": "", "tooltip": "names all that the answer depends on and the service does not see, above all the pictures' content: an equal request of the same user with the same result_key is answered from the result cache; empty: not cached"},
    },
    "encode": {
        "dtype": {"default": "model", "choices": ["model", "f32", "f16", "bf16"], "tooltip": "element type of the result; model: the model's own"},
        "generation_prompt": {"default": True, "tooltip": "end the prompt with the opening of an assistant's turn"},
        "min_pixels": {"default": 0, "min": 0, "max": 268435456, "step": 1, "tooltip": "smallest picture area after resizing; 0: the model's own"},
        "max_pixels": {"default": 0, "min": 0, "max": 268435456, "step": 1, "tooltip": "largest picture area after resizing; 0: the model's own"},
        "priority": {"default": "interactive", "choices": ["interactive", "batch", "maintenance"], "tooltip": "as in generate"},
        "key": {"default": "", "tooltip": "as in generate"},
    },
    "count_tokens": {
        "thinking": {"default": "auto", "choices": ["auto", "on", "off"], "tooltip": "as in generate"},
        "min_pixels": {"default": 0, "min": 0, "max": 268435456, "step": 1, "tooltip": "as in generate"},
        "max_pixels": {"default": 0, "min": 0, "max": 268435456, "step": 1, "tooltip": "as in generate"},
    },
    "pin_model": {
        "pin": {"default": True, "tooltip": "false: it may leave again"},
    },
    "evict_model": {
        "to": {"default": "cold", "choices": ["warm", "cold"], "tooltip": "warm: its weights rest in pinned memory if there is room; cold: all of it goes"},
    },
    "drain": {
        "timeout_ms": {"default": 45000, "max": 86400000, "step": 1, "tooltip": "how long open requests may take"},
        "then": {"default": "stay", "choices": ["stay", "stop"], "tooltip": "stay: until resume; stop: the service ends"},
    },
    "suspend": {
        "timeout_ms": {"default": 10000, "max": 86400000, "step": 1, "tooltip": "after which requests at work are put back to the queue if nothing of them was sent yet, else end with worker_lost"},
    },
    "clear_quarantine": {
        "model": {"default": "", "tooltip": "id or name; empty: all of them"},
    },
    "reload_config": {
        "apply": {"default": True, "tooltip": "false: only say what would change"},
    },
    "list_requests": {
        "before": {"default": 0, "tooltip": "only those with a smaller number; 0: from the latest"},
        "limit": {"default": 256, "min": 1, "max": 256, "step": 1, "tooltip": "at most so many"},
    },
}
