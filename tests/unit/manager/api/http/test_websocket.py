"""WebSockets: the handshake, messages in any pieces, and what is not the protocol."""

import asyncio
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from manager.api.errors import EngineError
from manager.api.http import websocket
from manager.api.http.websocket import MAX_MESSAGE, PROTOCOL_ERROR, TOO_LARGE, Message, WebSocket, handshake, unmask

# The example of RFC 6455, section 1.3.
ASKED = {
    "upgrade": "websocket",
    "connection": "keep-alive, Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
}
MASK = b"\x37\xfa\x21\x3d"


class Sent:
    """What is written."""

    def __init__(self) -> None:
        self.data = b""

    def write(self, data: bytes) -> None:
        self.data += data

    async def drain(self) -> None:
        pass


def frame(opcode: int, data: bytes, *, final: bool = True, mask: bytes = MASK) -> bytes:
    """Write a frame as a client does."""
    first = opcode | (0x80 if final else 0)
    if len(data) < 126:
        head = struct.pack(">BB", first, 0x80 | len(data))
    elif len(data) < 1 << 16:
        head = struct.pack(">BBH", first, 0x80 | 126, len(data))
    else:
        head = struct.pack(">BBQ", first, 0x80 | 127, len(data))
    return head + mask + unmask(data, mask)


def opened(data: bytes) -> tuple[WebSocket, Sent]:
    reader, sent = asyncio.StreamReader(), Sent()
    reader.feed_data(data)
    reader.feed_eof()
    writer: Any = sent
    return WebSocket(reader, writer), sent


def test_the_handshake_is_the_rfcs() -> None:
    head = handshake(ASKED, "chat").decode()
    assert head.startswith("HTTP/1.1 101 Switching Protocols\r\n")
    assert "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head
    assert "Sec-WebSocket-Protocol" not in head
    assert (
        "Sec-WebSocket-Protocol: chat\r\n"
        in handshake({**ASKED, "sec-websocket-protocol": "key.x, chat"}, "chat").decode()
    )


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"upgrade": "tcp"}, 400),
        ({"connection": "close"}, 400),
        ({"sec-websocket-version": "8"}, 426),
        ({"sec-websocket-key": ""}, 400),
        ({"sec-websocket-key": "ä"}, 400),
        ({"sec-websocket-key": "c2hvcnQ="}, 400),
    ],
)
def test_what_is_not_a_handshake_is_refused(changed: dict[str, str], status: int) -> None:
    with pytest.raises(EngineError) as caught:
        handshake({**ASKED, **changed}, "chat")
    assert caught.value.answered == status


@given(st.lists(st.tuples(st.binary(max_size=300), st.booleans(), st.integers(1, 4))))
def test_messages_come_as_they_were_sent(messages: list[tuple[bytes, bool, int]]) -> None:
    """Whole or in pieces, with a ping between them."""
    data, pings = b"", 0
    for payload, is_text, pieces in messages:
        size = len(payload) // pieces + 1
        parts = [payload[start : start + size] for start in range(0, max(len(payload), 1), size)]
        for number, part in enumerate(parts):
            opcode = (1 if is_text else 2) if number == 0 else 0
            data += frame(opcode, part, final=number == len(parts) - 1)
            if number < len(parts) - 1:
                data += frame(9, b"?")
                pings += 1

    async def read() -> tuple[list[Message | None], bytes]:
        socket, sent = opened(data)
        return [await socket.receive() for _ in messages] + [await socket.receive()], sent.data

    received, sent = asyncio.run(read())
    assert received == [*(Message(payload, is_text) for payload, is_text, _ in messages), None]
    assert sent == b"\x8a\x01?" * pings


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x82\x01x", PROTOCOL_ERROR),  # without a mask
        (b"\xc2\x80" + MASK, PROTOCOL_ERROR),  # an extension
        (frame(0, b"x"), PROTOCOL_ERROR),  # goes on with nothing
        (frame(2, b"x", final=False) + frame(2, b"y"), PROTOCOL_ERROR),  # begins within another
        (frame(3, b"x"), PROTOCOL_ERROR),
        (frame(9, b"x" * 126), PROTOCOL_ERROR),
        (frame(9, b"x", final=False), PROTOCOL_ERROR),
        (struct.pack(">BBQ", 0x82, 0xFF, 1 << 62) + MASK, TOO_LARGE),
        (frame(2, b"x" * (MAX_MESSAGE // 2), final=False) + frame(0, b"x" * (MAX_MESSAGE // 2 + 1)), TOO_LARGE),
    ],
)
async def test_what_is_not_the_protocol_ends_it(data: bytes, code: int) -> None:
    socket, sent = opened(data)
    assert await socket.receive() is None
    assert sent.data == b"\x88\x02" + struct.pack(">H", code)


async def test_a_goodbye_is_answered_once() -> None:
    socket, sent = opened(frame(8, struct.pack(">H", 1000)))
    assert await socket.receive() is None
    await socket.close()
    assert sent.data == b"\x88\x02\x03\xe8"


async def test_a_connection_that_is_cut_off_ends() -> None:
    for data in (b"", b"\x82", frame(2, b"xyz")[:-1]):
        socket, _ = opened(data)
        assert await socket.receive() is None


async def test_a_long_reason_is_cut_between_letters() -> None:
    socket, sent = opened(b"")
    await socket.close(1001, "ä" * 100)
    assert sent.data[1] <= 125
    sent.data[4:].decode()


def test_a_servers_frames_have_the_shortest_length() -> None:
    assert websocket.frame_head(2, 125) == b"\x82\x7d"
    assert websocket.frame_head(2, 126) == b"\x82\x7e\x00\x7e"
    assert websocket.frame_head(2, 1 << 16) == b"\x82\x7f" + (1 << 16).to_bytes(8, "big")
