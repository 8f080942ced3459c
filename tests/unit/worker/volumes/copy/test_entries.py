"""Owners on the other side of what an engine adds to them."""

import struct

import pytest

from common.errors import FailedPrecondition
from worker.volumes.copy.entries import moved_attributes, moved_id

BASE = 100_000


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in entries)


def test_an_owner_comes_back_to_its_number() -> None:
    assert moved_id(moved_id(1000, BASE), -BASE) == 1000
    assert moved_id(7, 0) == 7


def test_a_number_that_the_other_host_cannot_have_is_refused() -> None:
    with pytest.raises(FailedPrecondition, match="owner 4294967000 has no number"):
        moved_id(4_294_967_000, BASE)


def test_named_users_and_groups_of_an_acl_move_and_nobody_else() -> None:
    value = acl((0x01, 7, 0xFFFFFFFF), (0x02, 6, 1000), (0x08, 4, 50), (0x20, 0, 0xFFFFFFFF))
    ((_, moved),) = moved_attributes(((b"system.posix_acl_access", value),), BASE)
    assert moved == acl((0x01, 7, 0xFFFFFFFF), (0x02, 6, 1000 + BASE), (0x08, 4, 50 + BASE), (0x20, 0, 0xFFFFFFFF))


def test_the_owner_of_capabilities_moves() -> None:
    value = b"c" * 20 + struct.pack("<I", 0)
    ((_, moved),) = moved_attributes(((b"security.capability", value),), BASE)
    assert moved == b"c" * 20 + struct.pack("<I", BASE)


def test_other_attributes_stay() -> None:
    others = (
        (b"user.a", acl((0x02, 6, 1000))),
        (b"security.capability", b"short"),
        (b"system.posix_acl_access", b"odd"),
    )
    assert moved_attributes(others, BASE) == others
    access = ((b"system.posix_acl_access", acl((0x02, 6, 1000))),)
    assert moved_attributes(access, 0) is access
