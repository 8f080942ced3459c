"""The wire codec: whatever can be said arrives as it was said, and whatever else arrives is a ProtocolError."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ProtocolError
from common.wire.codec import MESSAGE_TYPES, Frame, decode, encode, read
from common.wire.frames import LAST, FrameDecoder
from common.wire.message import Message
from common.wire.messages import StreamHello
from tests.fakes.structs import structs

FRAMED = [kind for kind in MESSAGE_TYPES if kind not in LAST]
numbers = st.integers(0, 2**63 - 1)
messages = st.one_of(*(structs(kind) for kind in FRAMED))


def frames(decoder: FrameDecoder, data: bytes) -> list[Frame]:
    decoder.feed(data)
    return [read(sealed) for sealed in iter(decoder.next, None)]


@pytest.mark.parametrize("kind", MESSAGE_TYPES, ids=lambda kind: kind.__name__)
def test_every_message_survives_the_way(kind: type[Message]) -> None:
    @settings(max_examples=50, deadline=None)
    @given(structs(kind), numbers)
    def check(message: Message, request_id: int) -> None:
        assert decode(encode(message, request_id)) == Frame(request_id, message)  # type: ignore[arg-type]

    check()


def test_kinds_are_distinct() -> None:
    assert len({kind.KIND for kind in MESSAGE_TYPES}) == len(MESSAGE_TYPES)


@settings(deadline=None)
@given(st.lists(st.tuples(messages, numbers), max_size=6), st.data())
def test_frames_survive_any_cutting_of_the_stream(said: list[tuple[Message, int]], data: st.DataObject) -> None:
    stream = b"".join(encode(message, number) for message, number in said)  # type: ignore[arg-type]
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    decoder = FrameDecoder()
    heard: list[Frame] = []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        heard += frames(decoder, stream[begin:end])
    assert heard == [Frame(number, message) for message, number in said]  # type: ignore[arg-type]
    assert decoder.take_rest() == b""


@given(st.binary(max_size=200), st.binary(max_size=200), st.integers(0, 500))
def test_after_a_stream_hello_every_byte_is_kept(first: bytes, second: bytes, cut: int) -> None:
    stream = encode(StreamHello(stream_id="s")) + first + second
    decoder = FrameDecoder()
    heard = frames(decoder, stream[:cut]) + frames(decoder, stream[cut:])
    assert heard == [Frame(0, StreamHello(stream_id="s"))]
    assert decoder.take_rest() == first + second


@settings(deadline=None, max_examples=300)
@given(messages, st.data())
def test_a_damaged_frame_is_another_frame_or_an_error(message: Message, data: st.DataObject) -> None:
    frame = bytearray(encode(message))  # type: ignore[arg-type]
    for _ in range(data.draw(st.integers(1, 4))):
        frame[data.draw(st.integers(0, len(frame) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolError):
        heard = frames(FrameDecoder(limit=1 << 16), bytes(frame))
        assert all(isinstance(item.message, Message) for item in heard)


@given(st.binary(max_size=2000))
def test_any_bytes_are_frames_or_an_error(data: bytes) -> None:
    decoder = FrameDecoder(limit=1000)
    try:
        frames(decoder, data)
    except ProtocolError:
        with pytest.raises(ProtocolError):
            decoder.next()
