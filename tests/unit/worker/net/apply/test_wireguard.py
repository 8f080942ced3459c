"""Encrypted links in the kernel or by wireguard-go, with tools that do not run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from common.errors import Unavailable
from tests.unit.worker.net.plan.test_encrypted import planned, public
from worker.host import command
from worker.net.apply import wireguard
from worker.net.apply import wireguard as links

STATE = (
    "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\tBAEEAQQBBAEEAQQBBAEEAQQBBAEEAQQBBAEEAQQBBAE=\t51877\toff\n"
    "BAIEAgQCBAIEAgQCBAIEAgQCBAIEAgQCBAIEAgQCBAI=\t(none)\t192.168.7.2:51877\t10.2.17.0/24\t1790000000\t1\t2\t25\n"
    "BAMEAwQDBAMEAwQDBAMEAwQDBAMEAwQDBAMEAwQDBAM=\t(none)\t192.168.7.3:51877\t10.2.18.0/24\t0\t0\t0\t25\n"
)


async def test_a_link_that_is_late_is_not_given_up_at_once(monkeypatch: pytest.MonkeyPatch):
    """Making it anew would cut off what it carries: it is silent three times running before that."""
    answers = iter([STATE, "late", "late", STATE, "late", "unasked", "late", "gone", STATE, "gone"])

    async def run(*argv: str) -> command.Output:
        assert argv == ("wg", "show", "orc-wg0", "dump")
        said = next(answers)
        if said == "late":
            await asyncio.Event().wait()
        if said == "unasked":
            raise Unavailable("cannot run wg: Resource temporarily unavailable")
        return command.Output(int(said == "gone"), said, "")

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(wireguard, "PATIENCE_SECONDS", 0.001)
    kept = wireguard.WireGuard(wireguard.USERSPACE, lambda: None)
    seen = []
    for _ in range(10):
        await kept.survey({"orc-wg0", "eth0"})
        seen.append(bool(kept.answered))
    assert seen == [True, True, True, True, True, True, False, False, True, False]


async def test_what_a_plan_does_not_know_is_news_whoever_saw_it_first(monkeypatch: pytest.MonkeyPatch):
    """Repairs look, too: of an answer that they see first, no plan would ever hear."""
    silent = STATE.replace("1790000000", "0")
    answers = iter([silent, STATE, STATE, STATE, STATE])

    async def run(*_: str) -> command.Output:
        return command.Output(0, next(answers), "")

    monkeypatch.setattr(command, "run", run)
    kept = wireguard.WireGuard(wireguard.USERSPACE, lambda: None)
    kept.wanted = planned(4).wireguard or {}
    await kept.survey({"orc-wg0"})
    await kept.look({"orc-wg0"})
    assert await kept.changed()
    assert kept.answered == frozenset()
    await kept.survey({"orc-wg0"})
    assert kept.answered == {public(4, 2)}
    assert not await kept.changed()


async def test_a_new_link_is_prepared_before_anything_can_come_over_it(monkeypatch: pytest.MonkeyPatch):
    """A peer may send over it at once; what the kernel then checks by its usual settings is lost."""
    done: list[str] = []

    async def must(*argv: str, **_: object) -> None:
        done.append(argv[0])

    async def run(*argv: str) -> command.Output:
        return command.Output(0, STATE, "")

    async def set_up(name: str, mtu: int, address: str) -> None:
        done.append(f"up with {address}")

    monkeypatch.setattr(command, "must", must)
    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(links, "set_up", set_up)
    found = planned(4).wireguard
    assert found is not None
    made = wireguard.WireGuard(wireguard.USERSPACE, lambda: done.append("prepared"))
    await made.apply(found, ())
    assert done == ["wireguard-go", "prepared", "wg", "up with 10.239.240.1/32"]
    await made.apply(planned(4, theirs=(5,)).wireguard or {}, {"orc-wg0"})
    assert done.count("prepared") == 1


def test_the_state_of_a_link_is_read_from_wg():
    found = planned(4).wireguard
    assert found is not None
    link = found["orc-wg0"]
    state = wireguard.parse(STATE)
    assert state is not None
    assert state.is_like(link)
    assert state.answered == {public(4, 2)}
    assert not state.is_like(planned(4, theirs=(5,)).wireguard["orc-wg0"])  # type: ignore[index]
    assert wireguard.parse("") is None


def test_a_links_process_is_found_among_oddly_encoded_arguments(tmp_path: Path) -> None:
    for number, line in enumerate((b"caf\xe9\0", b"/usr/bin/wireguard-go\0orc-wg0\0", b"wireguard-go\0orc-wg1\0")):
        folder = tmp_path / str(number)
        (folder / "ns").mkdir(parents=True)
        (folder / "ns/net").symlink_to(tmp_path / "self/ns/net")
        (folder / "cmdline").write_bytes(line)
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/net").write_text("")
    assert wireguard._processes("orc-wg0", tmp_path) == [1]
