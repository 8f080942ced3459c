"""What is packed for who takes that: long answers and streams of the overview, and nothing that may have a secret."""

import gzip
import zlib

from manager.api.call import EVENT_STREAM, Answer, Send, Stream
from manager.api.http.compression import COMPRESSED_FROM_BYTES, compress_answer, compress_stream

LONG = b"x" * COMPRESSED_FROM_BYTES


async def test_a_long_public_answer_is_packed():
    made = await compress_answer(Answer(value=LONG, public=True), "gzip, br")
    assert made.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(made.value) == LONG


async def test_what_may_have_a_secret_is_sent_as_it_is():
    assert (await compress_answer(Answer(value=LONG), "gzip")).value == LONG
    stream = Stream(events([b"one"]))
    assert compress_stream(stream, "gzip") is stream


async def test_who_does_not_take_it_packed_gets_it_as_it_is():
    assert (await compress_answer(Answer(value=LONG, public=True), "")).value == LONG
    stream = Stream(events([b"one"]), public=True)
    assert compress_stream(stream, "br") is stream


async def test_each_event_of_a_packed_stream_can_be_read_at_once():
    sent: list[bytes] = []

    async def send(data: bytes) -> None:
        sent.append(data)

    stream = compress_stream(Stream(events([b"event: a\n\n", LONG]), content_type=EVENT_STREAM, public=True), "gzip")
    assert stream.headers["Content-Encoding"] == "gzip"
    await stream.produce(send)
    reader = zlib.decompressobj(zlib.MAX_WBITS | 16)
    assert [reader.decompress(each) for each in sent] == [b"event: a\n\n", LONG, b""]
    assert reader.eof


def events(texts: list[bytes]):
    async def produce(send: Send) -> None:
        for text in texts:
            await send(text)

    return produce
