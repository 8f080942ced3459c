"""Heads of answers whose connection is taken over."""

from manager.api.engine.hijack import parse_head


def test_heads() -> None:
    head = parse_head(b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n")
    assert head.opens_stream
    assert not parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").opens_stream
    assert not parse_head(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n").opens_stream
