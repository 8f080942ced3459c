"""Netlink's messages as they are read, and whose they are."""

import ctypes
import socket
import struct

from tests.unit.worker.net.watch.test_changes import NEWTABLE, message
from worker.net.watch.netlink_bytes import Listener, attributes, messages, select_attributes


def test_chosen_attributes_are_the_same_without_the_others():
    body = next(iter(messages(message(NEWTABLE, 41, (1, "orc"), (2, "four"), (3, "filters"), (1, "last"))))).body
    for whole in (body, body[:-2], body[:9], body[:4]):
        every = dict(attributes(whole, 4))
        assert select_attributes(whole, 4, {1, 3, 9}) == {
            kind: value for kind, value in every.items() if kind in (1, 3, 9)
        }


def test_a_truncated_message_ends_the_batch():
    whole = message(NEWTABLE, 41, (1, "orc"))
    assert [(each.kind, each.process) for each in messages(whole + b"\1\0")] == [(10 << 8 | NEWTABLE, 41)]
    assert not list(messages(struct.pack("=IHHII", 3, 10 << 8, 0, 0, 0)))


async def test_the_kernel_does_not_report_changes_of_this_process():
    """The filter that the kernel is given, run as the kernel does."""
    given: list[tuple[bytes, int]] = []

    class Socket:
        def setsockopt(self, level: int, option: int, value: bytes) -> None:
            assert (level, option) == (socket.SOL_SOCKET, 26)
            count, address = struct.unpack("HL", value)
            given.append((ctypes.string_at(address, 8 * count), count))

    Listener(Socket()).ignore(4711)  # type: ignore[arg-type]
    ((program, count),) = given
    steps = [struct.unpack_from("=HBBI", program, 8 * step) for step in range(count)]

    def let_through(data: bytes) -> int:
        loaded, step = 0, 0
        while True:
            code, when_true, when_false, value = steps[step]
            step += 1
            if code == 0x20:
                loaded = int.from_bytes(data[value : value + 4])
            elif code == 0x15:
                step += when_true if loaded == value else when_false
            else:
                return value

    assert let_through(message(NEWTABLE, 4711, (1, "orc"))) == 0
    assert let_through(message(NEWTABLE, 4712, (1, "orc"))) > 1 << 20
