"""When a manager defragments its own etcd, and what it says when that is full."""

from __future__ import annotations

import random

import msgspec
import pytest

from manager.daemon.etcd_maintenance import EtcdMaintenance, is_wasteful
from manager.store.backends.etcd.members import Members, Status

MB = 1 << 20
FULL = "memberID:7 alarm:NOSPACE "


class FakeGateway:
    """Answers as etcd's gateway does; a defragmentation leaves what is in use."""

    def __init__(self, file_bytes: int, used_bytes: int, *errors: str) -> None:
        self.file_bytes, self.used_bytes, self.errors = file_bytes, used_bytes, list(errors)
        self.calls: list[str] = []

    async def call(self, path: str, body: bytes) -> bytes:
        what = path.rpartition("/")[2]
        if what == "status":
            header = {"member_id": "7", "revision": "1"}
            sizes = {"dbSize": str(self.file_bytes), "dbSizeInUse": str(self.used_bytes)}
            return msgspec.json.encode({"header": header, "leader": "7", "errors": self.errors, **sizes})
        self.calls.append(what)
        if what == "defragment":
            self.file_bytes = self.used_bytes
        else:
            assert msgspec.json.decode(body) == {"action": "DEACTIVATE", "memberID": "7", "alarm": "NOSPACE"}
            self.errors.clear()
        return b"{}"


class World:
    def __init__(self, gateway: FakeGateway, *, leads: bool = False) -> None:
        self.handed_over = 0
        self.leads = leads
        self.maintenance = EtcdMaintenance(Members(gateway), lambda: self.leads, self._hand_over, random.Random(1))

    def _hand_over(self) -> None:
        self.handed_over += 1
        self.leads = False


@pytest.mark.parametrize(
    ("file_mb", "used_mb", "errors", "wasteful"),
    [
        (60, 1, (), False),
        (100, 51, (), False),
        (100, 49, (), True),
        (8192, 7000, (), False),
        (8192, 7000, (FULL,), True),
        (8192, 8100, (FULL,), False),
    ],
)
def test_a_file_of_twice_what_is_in_use_is_too_large(
    file_mb: int, used_mb: int, errors: tuple[str, ...], wasteful: bool
) -> None:
    assert is_wasteful(Status(7, 7, 1, file_mb * MB, used_mb * MB, errors)) == wasteful


async def test_a_follower_defragments() -> None:
    gateway = FakeGateway(200 * MB, 10 * MB)
    world = World(gateway)
    await world.maintenance.look()
    await world.maintenance.look()
    assert gateway.calls == ["defragment"]
    assert world.handed_over == 0


async def test_a_leader_lets_another_lead_first() -> None:
    gateway = FakeGateway(200 * MB, 10 * MB)
    world = World(gateway, leads=True)
    await world.maintenance.look()
    assert (world.handed_over, gateway.calls) == (1, [])
    await world.maintenance.look()
    assert (world.handed_over, gateway.calls) == (1, ["defragment"])


async def test_what_was_full_takes_changes_again() -> None:
    gateway = FakeGateway(8192 * MB, 8100 * MB, FULL)
    world = World(gateway)
    await world.maintenance.look()
    assert gateway.calls == []
    assert world.maintenance.trouble.startswith("etcd takes no more changes: its file has 8192 MB, of which 8100 MB")
    gateway.used_bytes = 100 * MB
    await world.maintenance.look()
    assert gateway.calls == ["defragment", "alarm"]
    assert world.maintenance.trouble == ""
