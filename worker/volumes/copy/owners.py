"""Owners relative to what an engine adds to those in its containers (`userns-remap`), in ACLs and capabilities too.

Pure. ACLs are as the kernel gives them in `system.posix_acl_access` and `_default` (linux/posix_acl_xattr.h): a version
and entries of tag, permissions, id, all little-endian; capabilities in `security.capability` (linux/capability.h), of
which revision 3 ends in the owner of the user namespace that they count in.
"""

from __future__ import annotations

import struct

from common.errors import FailedPrecondition
from worker.volumes.copy.entries import Attributes

_LARGEST_ID = 2**32 - 2
_ACL_VERSION = struct.Struct("<I")
_ACL_ENTRY = struct.Struct("<HHI")
_ACLS = (b"system.posix_acl_access", b"system.posix_acl_default")
# ACL_USER and ACL_GROUP; other entries have no id.
_ACL_NAMED = (0x02, 0x08)
_CAPABILITY = b"security.capability"
_CAPABILITY_V3_BYTES = 24


def moved_id(number: int, by: int) -> int:
    """Return an owner's number on the other side of a base.

    Raises:
        FailedPrecondition: there is none.

    """
    moved = number + by
    if by and not 0 <= moved <= _LARGEST_ID and by > 0:
        raise FailedPrecondition(f"owner {number} has no number on a host whose engine adds {by} to owners")
    return moved


def moved_attributes(attributes: Attributes, by: int) -> Attributes:
    """Return extended attributes with all owners in them moved."""
    if not by or not attributes:
        return attributes
    return tuple((name, _moved_value(name, value, by)) for name, value in attributes)


def _moved_value(name: bytes, value: bytes, by: int) -> bytes:
    if name in _ACLS and (len(value) - _ACL_VERSION.size) % _ACL_ENTRY.size == 0:
        entries = _ACL_ENTRY.iter_unpack(value[_ACL_VERSION.size :])
        moved = ((tag, bits, moved_id(owner, by) if tag in _ACL_NAMED else owner) for tag, bits, owner in entries)
        return value[: _ACL_VERSION.size] + b"".join(_ACL_ENTRY.pack(*each) for each in moved)
    if name == _CAPABILITY and len(value) == _CAPABILITY_V3_BYTES:
        (owner,) = _ACL_VERSION.unpack(value[-4:])
        return value[:-4] + _ACL_VERSION.pack(moved_id(owner, by))
    return value
