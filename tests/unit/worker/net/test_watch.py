"""What the kernel says of nftables changes, and whose they are. The messages are as the kernel lays them out."""

import struct
from typing import Any

from worker.net.watch import LinkWatch, _messages

NEWTABLE, DELTABLE, NEWCHAIN, DELRULE, NEWGEN = 0, 2, 3, 8, 15


def message(kind: int, process: int, *attributes: tuple[int, str], subsystem: int = 10) -> bytes:
    body = struct.pack("=BBH", 2, 0, 0)
    for number, value in attributes:
        data = value.encode() + b"\0"
        body += struct.pack("=HH", 4 + len(data), number) + data + b"\0" * (-len(data) % 4)
    return struct.pack("=IHHII", 16 + len(body), subsystem << 8 | kind, 0, 7, process) + body


def test_each_message_names_its_process_table_and_chain():
    data = (
        message(DELTABLE, 41, (1, "orc"), (2, "ignored"))
        + message(NEWCHAIN, 42, (1, "filter"), (2, "handle"), (3, "DOCKER-USER"))
        + message(DELRULE, 43, (1, "filter"), (2, "DOCKER-USER"))
    )
    assert list(_messages(data)) == [
        (DELTABLE, 41, ("orc", "")),
        (NEWCHAIN, 42, ("filter", "DOCKER-USER")),
        (DELRULE, 43, ("filter", "DOCKER-USER")),
    ]


def test_generations_and_other_subsystems_say_nothing_of_tables():
    assert not list(_messages(message(NEWGEN, 41) + message(NEWTABLE, 41, (1, "orc"), subsystem=1)))


def test_a_truncated_message_ends_the_batch():
    whole = message(NEWTABLE, 41, (1, "orc"))
    assert list(_messages(whole + b"\1\0")) == [(NEWTABLE, 41, ("orc", ""))]
    assert not list(_messages(struct.pack("=IHHII", 3, 10 << 8, 0, 0, 0)))


class Event(dict[str, Any]):
    """A routing event as far as the watch reads it: fields and attributes in one."""


async def heard(*events: Event) -> tuple[list[tuple[int, int]], list[str]]:
    """Return the ports that were passed on, and what changed."""
    ports: list[tuple[int, int]] = []
    changes: list[str] = []

    async def port_added(port: int, bridge: int) -> None:
        ports.append((port, bridge))

    watch = LinkWatch(port_added, changes.append)
    for event in events:
        await watch._take(event)
    return ports, changes


def link(event: str, index: int, name: str, **more: Any) -> Event:
    return Event(event=event, index=index, ifname=name, flags=1, **more)


async def test_a_port_is_passed_on_once_for_setting_it_up_is_told_again():
    """Else each setting would bring the next, for ever."""
    joins = link("RTM_NEWLINK", 9, "veth1", master=5)
    leaves = link("RTM_DELLINK", 9, "veth1")
    assert (await heard(joins, joins, joins))[0] == [(9, 5)]
    assert (await heard(joins, leaves, joins))[0] == [(9, 5), (9, 5)]
    assert (await heard(link("RTM_NEWLINK", 5, "oc-blue", master=5)))[0] == []


async def test_our_links_matter_when_they_come_fall_or_go():
    new, down = link("RTM_NEWLINK", 5, "oc-blue"), link("RTM_NEWLINK", 5, "oc-blue") | {"flags": 0}
    _, changes = await heard(new, new, Event(down), link("RTM_DELLINK", 5, "oc-blue"), link("RTM_DELLINK", 6, "eth1"))
    assert changes == ["link oc-blue is new", "link oc-blue is down", "link oc-blue was deleted"]
