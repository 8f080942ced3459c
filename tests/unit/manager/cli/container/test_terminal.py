import asyncio
import os
from pathlib import Path

import pytest

from manager.cli.container.terminal import join


async def test_output_is_taken_apart(capfd: pytest.CaptureFixture[str]) -> None:
    reader = asyncio.StreamReader()
    for channel, text in ((1, b"out\n"), (2, b"err\n"), (1, b"more\n")):
        reader.feed_data(bytes((channel, 0, 0, 0)) + len(text).to_bytes(4, "big") + text)
    reader.feed_eof()
    await join(reader, writer=None, stdin=False, terminal=False)  # type: ignore[arg-type]  # nothing is sent
    assert capfd.readouterr() == ("out\nmore\n", "err\n")


async def test_input_ends_when_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.read())
        writer.close()

    server = await asyncio.start_unix_server(listen, tmp_path / "s")
    reader, writer = await asyncio.open_unix_connection(tmp_path / "s")
    text = tmp_path / "text"
    text.write_bytes(b"a dump\n" * 50_000)
    with text.open("rb") as file:
        monkeypatch.setattr("sys.stdin", os.fdopen(os.dup(file.fileno())))
        await join(reader, writer, stdin=True, terminal=True)
        import sys

        sys.stdin.close()
    assert await heard == b"a dump\n" * 50_000
    writer.close()
    server.close()
