"""Compression with gzip of the overview's answers, which repeat themselves, for clients that accept it.

Other answers are not compressed: where a client's input comes back beside a secret, the compressed length reveals it.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from manager.api.call import Answer, Send, Stream

# Shorter answers are not worth it.
COMPRESSED_FROM_BYTES = 16 * 1024
_EFFORT = 6
# A stream is compressed on the event loop, for each follower; the window (a power of two) has the event before.
_STREAM_EFFORT = 1
_WINDOW = 15
_AS_GZIP = 16
_HEADERS = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}


async def compress_answer(answer: Answer, accepted: str) -> Answer:
    """Return an answer, compressed in a thread if it is long; `accepted` is the request's Accept-Encoding."""
    if not _may_be(accepted, answer.headers, public=answer.public) or answer.value is None:
        return answer
    body = answer.value if isinstance(answer.value, bytes) else msgspec.json.encode(answer.value) + b"\n"
    if len(body) < COMPRESSED_FROM_BYTES:
        return replace(answer, value=body)
    body = await asyncio.to_thread(gzip.compress, body, _EFFORT)
    return replace(answer, value=body, headers={**answer.headers, **_HEADERS})


def compress_stream(stream: Stream, accepted: str) -> Stream:
    """Return a stream, compressed if it is public; each piece can be decompressed as soon as it arrives."""
    if not _may_be(accepted, stream.headers, public=stream.public):
        return stream

    async def produce(send: Send) -> None:
        packer = zlib.compressobj(_STREAM_EFFORT, zlib.DEFLATED, _WINDOW | _AS_GZIP)

        async def pack(data: bytes) -> None:
            await send(packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))

        await stream.produce(pack)
        await send(packer.flush())

    return replace(stream, produce=produce, headers={**stream.headers, **_HEADERS})


def _may_be(accepted: str, headers: Mapping[str, str], *, public: bool) -> bool:
    return public and "gzip" in accepted and "Content-Encoding" not in headers
