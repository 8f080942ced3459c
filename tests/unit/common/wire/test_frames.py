import msgspec
import pytest

from common.errors import ProtocolError
from common.wire import codec
from common.wire.codec import Frame, decode, encode, read
from common.wire.frames import FrameDecoder
from common.wire.messages import Heartbeat, RegistryAuth, StatusAck, StreamHello


def frames(decoder: FrameDecoder, data: bytes) -> list[Frame]:
    """Feed a decoder, and read all frames that are there then."""
    decoder.feed(data)
    return [read(sealed) for sealed in iter(decoder.next, None)]


def test_a_frame_on_the_wire_is_an_array_of_kind_number_and_body() -> None:
    assert encode(Heartbeat(), 5) == b"\x93\x0c\x05\x80"
    kind, number, body = msgspec.msgpack.decode(encode(RegistryAuth(service_id="s", auth="a"), 9))
    assert (kind, number, body) == (32, 9, {"service_id": "s", "auth": "a"})


def test_frames_that_come_together_or_byte_by_byte_are_the_same() -> None:
    stream = encode(Heartbeat(), 1) + encode(RegistryAuth(service_id="s", auth="a" * 300)) + encode(StatusAck(), 2)
    whole = frames(FrameDecoder(), stream)
    decoder = FrameDecoder()
    piecemeal = [frame for index in range(len(stream)) for frame in frames(decoder, stream[index : index + 1])]
    assert whole == piecemeal
    assert [frame.id for frame in whole] == [1, 0, 2]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"GET / HTTP/1.1", "begins with 0x47"),
        (b"\x93\x7f\x00\x80", "unknown kind of message: 127"),
        (b"\x93\x0c\x00\x81\xa1x\x01", "malformed Heartbeat: .*unknown field"),
        (b"\x93\x0c\x00\x81\xa3\x1b[m\x01", "malformed Heartbeat: .*unknown field `\ufffd.m`"),
        (b"\x93\x20\x00\x80", "malformed RegistryAuth: .*missing required field"),
        (b"\x93\x0c\xff\x80", "malformed frame"),
        (b"\x93\xa1x\x00\x80", "malformed frame"),
        (b"\x93\xc1", "malformed frame"),
        (b"\x93" + b"\x91" * 2000, "malformed frame"),
    ],
)
def test_malformed_frames_are_refused_with_the_reason(data: bytes, words: str) -> None:
    decoder = FrameDecoder()
    with pytest.raises(ProtocolError, match=words):
        frames(decoder, data)


def test_a_decoder_that_has_met_an_error_gives_nothing_more() -> None:
    decoder = FrameDecoder()
    with pytest.raises(ProtocolError, match="begins with 0x47"):
        frames(decoder, b"GET / HTTP/1.1")
    with pytest.raises(ProtocolError, match="begins with 0x47"):
        frames(decoder, encode(Heartbeat()))


def test_frames_wait_as_bytes_until_they_are_asked_for() -> None:
    decoder = FrameDecoder()
    decoder.feed(encode(Heartbeat(), 1) + b"GET / HTTP/1.1")
    first = decoder.next()
    assert first is not None
    assert (first.kind, first.id, first.size) == (12, 1, 4)
    with pytest.raises(ProtocolError, match="begins with 0x47"):
        decoder.next()


def test_a_forbidden_or_large_kind_is_refused_before_its_body() -> None:
    """The body would not pass: that nobody says so shows that nobody has looked."""
    decoder = FrameDecoder()
    decoder.feed(b"\x93\x0c\x00\x81\xa1x\xa5" + b"y" * 5)
    sealed = decoder.next()
    assert sealed is not None
    with pytest.raises(ProtocolError, match="oversize Heartbeat: 12 bytes, where at most 4 are allowed"):
        read(sealed, {12: 4})
    with pytest.raises(ProtocolError, match="Heartbeat: no such message is expected here"):
        read(sealed, {13: 100})
    with pytest.raises(ProtocolError, match="malformed Heartbeat"):
        read(sealed, {12: 100})


def test_a_frame_may_be_as_large_as_the_limit_and_no_larger() -> None:
    frame = encode(RegistryAuth(service_id="s", auth="a" * 1000))
    assert len(frames(FrameDecoder(limit=len(frame)), frame)) == 1
    with pytest.raises(ProtocolError, match="oversize"):
        frames(FrameDecoder(limit=len(frame) - 1), frame)
    with pytest.raises(ProtocolError, match="oversize"):
        frames(FrameDecoder(limit=len(frame) - 2), frame[:-1])  # at once, before its end has come


def test_many_frames_may_together_be_larger_than_the_limit() -> None:
    frame = encode(RegistryAuth(service_id="s", auth="a" * 50))
    assert len(frames(FrameDecoder(limit=len(frame)), frame * 500)) == 500


def test_a_frame_too_large_to_be_accepted_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_FRAME_BYTES", 100)
    with pytest.raises(ProtocolError, match=r"a RegistryAuth of 1.. bytes is larger"):
        encode(RegistryAuth(service_id="s", auth="a" * 100))


def test_bytes_after_the_frame_are_no_frame() -> None:
    with pytest.raises(ProtocolError, match="malformed frame"):
        decode(encode(Heartbeat()) + b"\x00")


def test_what_follows_a_stream_hello_is_kept_and_not_looked_at() -> None:
    decoder = FrameDecoder()
    assert frames(decoder, encode(StreamHello(stream_id="s")) + b"\xc1\xc1") == [Frame(0, StreamHello(stream_id="s"))]
    assert frames(decoder, b"\xc1") == []
    assert decoder.ended
    assert decoder.take_rest() == b"\xc1\xc1\xc1"
    assert decoder.take_rest() == b""
