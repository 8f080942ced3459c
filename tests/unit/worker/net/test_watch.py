"""What the kernel says of nftables changes, and whose they are. The messages are as the kernel lays them out."""

import struct

from worker.net.watch import _messages

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
