"""A page of metrics is fetched from within a container's network, and read."""

import asyncio
import os
import socket

import pytest

from common.wire.usage_messages import Scrape
from worker.metrics import scrape as prometheus
from worker.metrics.scrape import MAX_BYTES, scrape

PAGE = """# HELP jobs Jobs waiting.
# TYPE jobs gauge
jobs{queue="a b",path="/{id}"} 3 1700000000000
jobs{queue="c"} 4.5
jobs_total 99
plain 1e3
odd NaN
"""


@pytest.mark.parametrize(("name", "value"), [("jobs", 7.5), ("jobs_total", 99.0), ("plain", 1000.0)])
def test_a_metric_is_the_sum_of_its_samples(name: str, value: float) -> None:
    assert prometheus.total(PAGE, name) == value


@pytest.mark.parametrize(("name", "words"), [("job", "no metric job"), ("odd", "not a finite number")])
def test_what_is_no_number_is_an_error(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        prometheus.total(PAGE, name)


async def serve(answer: bytes) -> tuple[asyncio.Server, int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nplain 5\r\n0\r\n\r\n"


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="entering a network needs root")


@needs_root
@pytest.mark.parametrize("answer", [b"HTTP/1.0 200 OK\r\n\r\nplain 5\n", CHUNKED], ids=["plain", "chunked"])
async def test_a_page_is_fetched_from_within_the_network_of_a_process(answer: bytes) -> None:
    server, port = await serve(answer)
    async with server:
        assert await scrape(os.getpid(), Scrape(name="plain", port=port, path="/metrics")) == 5.0


@needs_root
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.0 404 Not Found\r\n\r\n", "HTTP status 404"),
        (b"\x00\x01", "not an HTTP answer"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * (MAX_BYTES + 1), "more than 1048576 bytes"),
        (b"HTTP/1.0 200 OK\r\n\r\nother 1\n", "no metric plain"),
    ],
    ids=["status", "garbage", "size", "absent"],
)
async def test_a_bad_page_is_an_error_that_says_why(answer: bytes, words: str) -> None:
    server, port = await serve(answer)
    async with server:
        with pytest.raises(ValueError, match=words):
            await scrape(os.getpid(), Scrape(name="plain", port=port, path="/"))


@needs_root
async def test_no_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.metrics.scrape.SCRAPE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(ValueError, match=r"no answer within 0.2 s"):
        await scrape(os.getpid(), Scrape(name="plain", port=listener.getsockname()[1], path="/"))
    with pytest.raises(FileNotFoundError):
        await scrape(2**22 + 1, Scrape(name="plain", port=1, path="/"))
