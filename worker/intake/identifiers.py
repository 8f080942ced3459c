"""Validated names, as types: each may become part of a path, of a kernel's name, or of nft's text. Pure.

Each type is made in one place only. `AddressText`, `ChainName` and `InterfaceName` look at what they are made of
themselves. Of `Id` and `DnsName` there are thousands, so they are plain strings to the interpreter; the functions here
make them, and no other code does (`tests/unit/worker/intake/test_identifiers.py` looks).
"""

from __future__ import annotations

import re
from typing import NewType, Self

from common.errors import InvalidArgument

# Of a node, a task, a service, a network: `common.ids`.
Id = NewType("Id", str)
# A name that containers may ask for.
DnsName = NewType("DnsName", str)

NO_NAME = DnsName("")
LONGEST_ID = 64
LONGEST_LABEL = 63
LONGEST_NAME = 253

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")
_DNS_NAME = re.compile(r"[0-9A-Za-z_-]{1,63}(?:\.[0-9A-Za-z_-]{1,63})*\.?")
_NETWORK = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,62}")
_INTERFACE = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,14}")
_CHAIN = re.compile(r"[A-Za-z][0-9A-Za-z_-]{0,126}")
_CONTAINER = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,250}")
# Of containers, networks and images, as an engine knows them: no part of it is a step up in a path.
_OF_ENGINE = re.compile(r"(?!.*(?:^|/)\.{1,2}(?:/|$))[0-9A-Za-z][0-9A-Za-z_.:/@+-]*")
_ADDRESS = re.compile(r"(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:.]{1,44})(?:/[0-9]{1,3})?")
_LONGEST_OF_ENGINE = 1000
_LONGEST_PATH = 4095
_SHOWN = 60
_BRIEF = 200


class Unusable(InvalidArgument):
    """Something that was sent cannot be used here. The message says what, and quotes a few words of it at most."""


class InterfaceName(str):
    """The name of a link.

    Raises:
        Unusable: it is not one.

    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        return super().__new__(cls, _check_form(text, _INTERFACE, "the name of a link"))


class ChainName(str):
    """The name of a chain of nftables; errors as `InterfaceName`."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        return super().__new__(cls, _check_form(text, _CHAIN, "the name of a chain"))


class AddressText(str):
    """An address, a range or a hardware address, as the kernel and its tools write it; errors as `InterfaceName`.

    What `ipaddress` has read is none yet: an IPv6 address's zone may be any text (`fe80::1%; reboot`).
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        if _ADDRESS.fullmatch(text) is None:
            raise Unusable(f"{quote_foreign(text)} is not an address")
        return super().__new__(cls, text)


def identifier(text: str) -> Id:
    """Read an id.

    Raises:
        Unusable: it is not one.

    """
    if not (text.isalnum() and text.isascii() and len(text) <= LONGEST_ID):  # as all are that a manager makes
        _check_form(text, _ID, "an id")
    return Id(text)


def dns_name(text: str) -> DnsName:
    """Read a name; errors as `identifier`."""
    if not (text.isalnum() and text.isascii() and len(text) <= LONGEST_LABEL):
        _check_form(text, _DNS_NAME, "a name that can be asked for", LONGEST_NAME)
    return DnsName(text)


def network_name(text: str) -> DnsName:
    """Read the name of a network: one label, which starts as all do that a manager accepts; errors as `identifier`."""
    _check_form(text, _NETWORK, "a network's name")
    return DnsName(text)


def container_name(text: str) -> str:
    """Return the name of a container; errors as `identifier`."""
    return _check_form(text, _CONTAINER, "a container's name")


def path_in_container(text: str) -> str:
    """Return an absolute path that leads where it says; errors as `identifier`."""
    if len(text) > _LONGEST_PATH or not text.startswith("/") or ".." in text.split("/") or not text.isprintable():
        raise Unusable(f"{quote_foreign(text)} is not an absolute path without '..'")
    return text


def engine_name(text: str) -> str:
    """Return a name or an id of an engine's for the path of a request to it; errors as `identifier`."""
    return _check_form(text, _OF_ENGINE, "a name of the engine's", _LONGEST_OF_ENGINE)


def is_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None


def quote_foreign(text: str) -> str:
    """Quote a text of others for a message or a log: short, in ASCII, and on one line."""
    return ascii(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def brief(text: str) -> str:
    """Return a sentence or name of others for one of ours: what of it can be printed, and not all of a long one."""
    cut = text if len(text) <= _BRIEF else text[:_BRIEF] + "…"
    return "".join(char if char.isprintable() else " " for char in cut)


def _check_form(text: str, form: re.Pattern[str], what: str, longest: int = 1 << 16) -> str:
    if len(text) > longest or form.fullmatch(text) is None:
        raise Unusable(f"{quote_foreign(text)} is not {what}")
    return text
