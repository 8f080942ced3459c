"""What the kernel says of nftables changes, and whose they are. The messages are as the kernel lays them out."""

import struct

from worker.net.watch.changes import HostChange, LinkWatch, RuleWatch
from worker.net.watch.netlink_bytes import Message, messages

NEWTABLE, DELTABLE, NEWCHAIN, NEWRULE, DELRULE, NEWGEN = 0, 2, 3, 6, 8, 15


def message(kind: int, process: int, *attributes: tuple[int, str], subsystem: int = 10) -> bytes:
    body = struct.pack("=BBH", 2, 0, 0)
    for number, value in attributes:
        data = value.encode() + b"\0"
        body += struct.pack("=HH", 4 + len(data), number) + data + b"\0" * (-len(data) % 4)
    return struct.pack("=IHHII", 16 + len(body), subsystem << 8 | kind, 0, 7, process) + body


def heard_of_rules(data: bytes, *ours: int, lost: bool = False) -> list[str]:
    """Return which of the watch's two notes were made for one batch."""
    notes: list[str] = []
    watch = RuleWatch(lambda process: process in ours, lambda: notes.append("table"), lambda: notes.append("docker"), 0)
    watch.take(list(messages(data)), lost)
    return notes


def test_foreign_changes_to_our_table_and_dockers_chain_are_told():
    assert heard_of_rules(message(DELTABLE, 41, (1, "orc"), (2, "ignored"))) == ["table"]
    assert heard_of_rules(message(DELTABLE, 41, (1, "orc-services"), (2, "ignored"))) == ["table"]
    assert heard_of_rules(message(NEWCHAIN, 42, (1, "filter"), (2, "handle"), (3, "DOCKER-USER"))) == ["docker"]
    assert heard_of_rules(message(DELRULE, 43, (1, "filter"), (2, "DOCKER-USER"))) == ["docker"]
    assert heard_of_rules(message(DELTABLE, 43, (1, "filter"), (2, "ignored"))) == ["docker"]
    assert heard_of_rules(message(DELRULE, 43, (1, "filter"), (2, "FORWARD"))) == ["docker"]
    assert heard_of_rules(message(NEWRULE, 43, (1, "filter"), (2, "FORWARD"))) == []
    assert heard_of_rules(message(DELRULE, 43, (1, "filter"), (2, "INPUT"))) == []
    assert heard_of_rules(message(DELRULE, 43, (1, "nat"), (2, "DOCKER-USER"))) == []


def test_one_batch_is_one_change_and_our_own_are_none():
    ours, theirs = message(DELTABLE, 41, (1, "orc")), message(NEWTABLE, 42, (1, "orc"))
    assert heard_of_rules(ours + theirs + theirs, 41) == ["table"]
    assert heard_of_rules(ours, 41) == []


def test_lost_events_may_have_been_of_any_table():
    assert heard_of_rules(message(NEWGEN, 41), lost=True) == ["table", "docker"]


def test_generations_and_other_subsystems_say_nothing_of_tables():
    assert not heard_of_rules(message(NEWGEN, 41) + message(NEWTABLE, 41, (1, "orc"), subsystem=1))


RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_DELROUTE = 16, 17, 20, 24, 25
UP = 1


def attribute(number: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), number) + value + b"\0" * (-len(value) % 4)


def link(kind: int, index: int, name: str, *, master: int = 0, flags: int = UP, mtu: int = 1450) -> Message:
    return Message(kind, 0, memoryview(link_body(0, index, name, master, flags, mtu)))


def port(kind: int, index: int, name: str, *, master: int, hairpin: int | None = None) -> Message:
    """Make what a bridge tells of its port."""
    told = attribute(12 | 0x8000, attribute(4, bytes([hairpin]))) if hairpin is not None else b""
    return Message(kind, 0, memoryview(link_body(7, index, name, master, UP, 1450) + told))


def link_body(family: int, index: int, name: str, master: int, flags: int, mtu: int) -> bytes:
    body = (
        struct.pack("=BxHiII", family, 1, index, flags, 0)
        + attribute(3, name.encode() + b"\0")
        + attribute(4, struct.pack("=I", mtu))
    )
    return body + (attribute(10, struct.pack("=I", master)) if master else b"")


async def heard(*events: Message) -> tuple[list[tuple[int, int]], list[str]]:
    """Return the ports that were passed on, and what changed."""
    ports, changes, _ = await all_heard(*events)
    return ports, changes


async def all_heard(*events: Message) -> tuple[list[tuple[int, int]], list[str], list[bool]]:
    """Return the ports that were passed on, what changed, and whether something may be gone with it."""
    ports: list[tuple[int, int]] = []
    changes: list[str] = []
    gone: list[bool] = []

    def changed(change: HostChange) -> None:
        changes.append(change.text)
        gone.append(change.gone)

    async def port_added(port: int, bridge: int) -> None:
        ports.append((port, bridge))

    async def hairpin_lost(port: int) -> None:
        changes.append(f"hairpin of {port} lost")

    watch = LinkWatch(port_added, hairpin_lost, changed)
    for event in events:
        await watch.take(event)
    return ports, changes, gone


async def test_a_port_is_reported_once_though_setup_repeats_it():
    """Else each setting would bring the next, for ever."""
    joins = link(RTM_NEWLINK, 9, "veth1", master=5)
    leaves = link(RTM_DELLINK, 9, "veth1")
    assert (await heard(joins, joins, joins))[0] == [(9, 5)]
    assert (await heard(joins, leaves, joins))[0] == [(9, 5), (9, 5)]
    assert (await heard(link(RTM_NEWLINK, 5, "oc-blue", master=5)))[0] == []


async def test_our_links_matter_when_they_come_fall_or_go():
    new, down = link(RTM_NEWLINK, 5, "oc-blue"), link(RTM_NEWLINK, 5, "oc-blue", flags=0)
    _, changes = await heard(new, new, down, link(RTM_DELLINK, 5, "oc-blue"), link(RTM_DELLINK, 6, "eth1"))
    assert changes == ["link oc-blue is new", "link oc-blue is down", "link oc-blue was deleted"]
    # A port that leaves its bridge is told of as deleted, with the bridge.
    assert (await heard(port(RTM_DELLINK, 5, "oc-blue", master=7)))[1] == []


async def test_only_what_is_gone_is_recreated_whatever_a_links_name():
    """A bridge of this name was taken for one that was deleted when it came."""
    new, deleted = link(RTM_NEWLINK, 5, "oc-deleted"), link(RTM_DELLINK, 5, "oc-deleted")
    _, changes, gone = await all_heard(new, deleted)
    assert changes == ["link oc-deleted is new", "link oc-deleted was deleted"]
    assert gone == [False, True]


async def test_the_tunnel_matters_whatever_is_told_of_it():
    """Its address and MTU can be changed; of a bridge the like is told whenever a port comes or goes."""
    tunnel, bridge = link(RTM_NEWLINK, 5, "orc-vx"), link(RTM_NEWLINK, 6, "oc-blue")
    _, changes = await heard(tunnel, bridge, tunnel, bridge)
    assert changes == ["link orc-vx is new", "link oc-blue is new", "link orc-vx may have another address"]


async def test_another_mtu_matters():
    bridge, changed = link(RTM_NEWLINK, 6, "oc-blue"), link(RTM_NEWLINK, 6, "oc-blue", mtu=1300)
    _, changes = await heard(bridge, bridge, changed, changed, bridge)
    assert changes == ["link oc-blue is new", "link oc-blue has another MTU", "link oc-blue has another MTU"]


async def test_an_mtu_change_matters_on_host_links_not_on_containers():
    links = [(7, "eth0", 1500), (7, "eth0", 1500), (7, "eth0", 1300), (8, "veth7", 1500), (9, "docker0", 1500)]
    _, changes = await heard(*(link(RTM_NEWLINK, index, name, mtu=mtu) for index, name, mtu in links))
    assert changes == ["link eth0 has another MTU", "link eth0 has another MTU"]


async def test_a_port_out_of_its_bridge_matters_but_not_a_deleted_one():
    joins = (link(RTM_NEWLINK, 9, "veth1", master=5), port(RTM_NEWLINK, 9, "veth1", master=5, hairpin=0))
    leaves = port(RTM_DELLINK, 9, "veth1", master=5)
    ports, changes = await heard(*joins, leaves, link(RTM_NEWLINK, 9, "veth1"), *joins)
    assert changes == ["link veth1 was taken out of its bridge"]
    assert ports == [(9, 5), (9, 5)]
    falls = link(RTM_NEWLINK, 9, "veth1", master=5, flags=0)
    assert (await heard(*joins, falls, leaves, link(RTM_DELLINK, 9, "veth1"))) == ([(9, 5)], [])


async def test_a_hairpin_that_is_turned_off_is_told_once_it_was_on():
    off, on = (port(RTM_NEWLINK, 9, "veth1", master=5, hairpin=mode) for mode in (0, 1))
    assert (await heard(off, off, on, on))[1] == []
    assert (await heard(off, on, off, off))[1] == ["hairpin of 9 lost"]
    assert (await heard(on, port(RTM_NEWLINK, 9, "veth1", master=5), off))[1] == ["hairpin of 9 lost"]


async def test_routes_of_ours_that_go_and_addresses_of_the_host_matter():
    def route(kind: int, protocol: int) -> Message:
        return Message(kind, 0, memoryview(struct.pack("=BBBBBBBBI", 2, 24, 0, 0, 254, protocol, 0, 1, 0)))

    def address(scope: int) -> Message:
        return Message(RTM_NEWADDR, 0, memoryview(struct.pack("=BBBBI", 10, 64, 0, scope, 3)))

    assert (await heard(route(RTM_DELROUTE, 111), address(0)))[1] == [
        "a route was deleted",
        "the host's addresses changed",
    ]
    others = (route(RTM_NEWROUTE, 111), route(RTM_DELROUTE, 2), address(253))
    assert (await heard(*others))[1] == []
