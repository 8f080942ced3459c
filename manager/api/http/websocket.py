"""A WebSocket's server end (RFC 6455) over a connection that was taken over: bounded messages, no extensions."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass

from manager.api.errors import EngineError, invalid

MAX_MESSAGE = 1024 * 1024
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES = 16
_VERSION = "13"
_MAX_CONTROL = 125
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA

NORMAL, GOING_AWAY, PROTOCOL_ERROR, TOO_LARGE = 1000, 1001, 1002, 1009


@dataclass(frozen=True, slots=True)
class Message:
    """What a client sent: text as it is, or bytes."""

    data: bytes
    is_text: bool


class _Wrong(Exception):
    """What a client sent is not the protocol; `code` says so to it."""

    def __init__(self, code: int) -> None:
        super().__init__(f"close code {code}")
        self.code = code


def handshake(headers: Mapping[str, str], protocol: str) -> bytes:
    """Return the head of the answer that makes a WebSocket of a request, with `protocol` where the client offers it.

    Raises:
        EngineError: 400, it does not ask for one; 426, it asks for another version.

    """
    wants = headers.get("upgrade", "").lower() == "websocket" and "upgrade" in headers.get("connection", "").lower()
    if not wants:
        raise invalid("this path is a WebSocket: connect with one")
    if headers.get("sec-websocket-version", "") != _VERSION:
        raise EngineError(426, f"this manager speaks version {_VERSION} of the WebSocket protocol")
    key = headers.get("sec-websocket-key", "").strip()
    try:
        is_key = len(base64.b64decode(key, validate=True)) == _KEY_BYTES
    except (NotBase64, ValueError):
        is_key = False
    if not is_key:
        raise invalid("Sec-WebSocket-Key is not 16 bytes in base64")
    accept = base64.b64encode(hashlib.sha1(key.encode() + _GUID, usedforsecurity=False).digest()).decode()
    offered = [each.strip() for each in headers.get("sec-websocket-protocol", "").split(",")]
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Accept: {accept}"]
    lines += [f"Sec-WebSocket-Protocol: {protocol}"] if protocol in offered else []
    return "\r\n".join([*lines, "", ""]).encode("ascii")


class WebSocket:
    """Reads and writes messages. One task may read while another writes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._closing = False

    async def receive(self) -> Message | None:
        """Return the next message; None when the client has closed, or has sent what is not the protocol."""
        try:
            return await self._message()
        except asyncio.IncompleteReadError:
            return None
        except _Wrong as wrong:
            await self.close(wrong.code)
            return None

    async def send(self, data: bytes) -> None:
        """Send bytes as one message; waits while the client reads slower."""
        await self._frame(_BINARY, data)

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Say goodbye, once; the connection is the caller's to close."""
        if not self._closing:
            self._closing = True
            text = reason.encode()[: _MAX_CONTROL - 2].decode(errors="ignore").encode()
            await self._frame(_CLOSE, struct.pack(">H", code) + text)

    async def _message(self) -> Message | None:
        kind, data = 0, bytearray()
        while True:
            final, opcode, payload = await self._read_frame(MAX_MESSAGE - len(data))
            if opcode == _CLOSE:
                await self.close()
                return None
            if opcode == _PING:
                await self._frame(_PONG, payload)
            elif opcode != _PONG:
                if (opcode == _CONTINUATION) != bool(kind) or opcode > _BINARY:
                    raise _Wrong(PROTOCOL_ERROR)
                kind = kind or opcode
                data += payload
                if final:
                    return Message(bytes(data), kind == _TEXT)

    async def _read_frame(self, room: int) -> tuple[bool, int, bytes]:
        first, second = await self._reader.readexactly(2)
        opcode, length = first & 0x0F, second & 0x7F
        if first & 0x70 or not second & 0x80:  # an extension that nobody agreed on; clients have to mask
            raise _Wrong(PROTOCOL_ERROR)
        if opcode >= _CLOSE and (length > _MAX_CONTROL or not first & 0x80):
            raise _Wrong(PROTOCOL_ERROR)
        if length == 126:
            (length,) = struct.unpack(">H", await self._reader.readexactly(2))
        elif length == 127:
            (length,) = struct.unpack(">Q", await self._reader.readexactly(8))
        if opcode < _CLOSE and length > room:
            raise _Wrong(TOO_LARGE)
        mask = await self._reader.readexactly(4)
        return bool(first & 0x80), opcode, unmask(await self._reader.readexactly(length), mask)

    async def _frame(self, opcode: int, data: bytes) -> None:
        self._writer.write(frame_head(opcode, len(data)) + data)
        await self._writer.drain()


def frame_head(opcode: int, length: int) -> bytes:
    """Return the head of a whole message's frame, as a server sends it: without a mask."""
    if length <= _MAX_CONTROL:
        return struct.pack(">BB", 0x80 | opcode, length)
    if length < 1 << 16:
        return struct.pack(">BBH", 0x80 | opcode, 126, length)
    return struct.pack(">BBQ", 0x80 | opcode, 127, length)


def unmask(data: bytes, mask: bytes) -> bytes:
    """Take a client's mask off; done again it is put on."""
    size = len(data)
    stretched = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(stretched, "big")).to_bytes(size, "big")
