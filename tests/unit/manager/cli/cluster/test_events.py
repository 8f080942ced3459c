"""`swarm-manager timeline` pages back as far as is asked, and goes on with what comes."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from click.testing import CliRunner

from manager.cli import cli
from manager.cli.cluster.events import ENTRIES, last_entries, new_entries, row
from tests.fakes.manager_socket import client_of


class FakeClient:
    """Has entries 1 to `count`, and more as the feed's lines are read."""

    def __init__(self, count: int, feed: tuple[bytes, ...] = ()) -> None:
        self.count = count
        self.feed = feed

    async def get(self, path: str, query: Mapping[str, str]) -> Any:
        assert path == "/swarm/timeline"
        first = min(int(query.get("before", self.count + 1)) - 1, self.count)
        numbers = range(first, max(0, first - int(query["limit"])), -1)
        entries = [{"ID": n, "At": 1.5, "Kind": "task-failed", "Text": f"entry {n}"} for n in numbers]
        return {"Entries": entries, **({"Next": numbers[-1]} if numbers and numbers[-1] > 1 else {})}

    @asynccontextmanager
    async def stream(self, _: str, __: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        async def lines() -> AsyncIterator[bytes]:
            for line in self.feed:
                if line == b"more":
                    self.count += 2
                else:
                    yield line

        yield lines()


async def test_it_pages_back_as_far_as_is_asked():
    client: Any = FakeClient(450)
    assert [entry["ID"] for entry in await last_entries(client, {}, 300)] == list(range(450, 150, -1))
    assert len(await last_entries(client, {}, 1000)) == 450


async def test_it_goes_on_with_what_comes_once():
    feed = (b"event: hello\n", b"data: {}\n", b"more", b"event: timeline\n", b"data: {}\n", b"\n", b"data: {}\n")
    client: Any = FakeClient(3, feed)
    assert [entry["ID"] async for entry in new_entries(client, {}, 2)] == [3, 4, 5]


def test_a_row_has_who_and_what():
    entry = {"ID": 7, "At": 0, "Kind": "service-changed", "Text": "web was changed", "By": "alice"}
    assert ENTRIES.render([row(entry)], "{{.ID}} {{.Level}} {{.By}}: {{.What}}") == "7 info alice: web was changed\n"


async def test_an_object_without_entries_is_perhaps_another_name(tmp_path: Path):
    async def answer(_: web.BaseRequest) -> web.Response:
        return web.json_response({"Entries": []})

    async with client_of(answer, tmp_path):
        words = ["-H", f"unix://{tmp_path}/socket", "timeline"]
        named = await asyncio.to_thread(CliRunner().invoke, cli, [*words, "wbe"])
        every = await asyncio.to_thread(CliRunner().invoke, cli, words)
    assert named.stderr == "nothing is remembered of 'wbe': is that its name or id, as it is listed?\n"
    assert every.stderr == ""
