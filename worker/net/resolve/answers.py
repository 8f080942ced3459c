"""What a question means to one container: an answer, or that somebody else is to be asked. Pure.

    web, stack_web, an alias      the service: its virtual address, or with `endpoint_mode: dnsrr` all its tasks
    tasks.web                     every task that may get traffic
    1.web                         the task in slot 1, whichever runs there now; a global service has its nodes' ids
    stack_web.1.TASKID            one task, by its container's name
    rabbit-1, d41ae530f33f        the tasks whose containers call themselves so (`hostname`, else the short id)
    any of these and .NETWORK     the same, in one of the container's networks
    db, by `--link postgres:db`   postgres, for the container alone that was made so

A container with several networks hears of the first, in the order of their names, that knows the name. What containers
call themselves counts only where nothing else has the name.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeAlias

from worker.net.resolve import messages
from worker.net.resolve.messages import Query
from worker.net.resolve.zones import TASKS, Records, View, Zone, Zones

# Long enough to spare a busy client most of its questions, short enough that nobody talks to a task of before.
TTL_SECONDS = 5

_REVERSE, _REVERSE6 = ".in-addr.arpa", ".ip6.arpa"
_NIBBLES = 32
# The bytes of an address of each type.
_SIZES = {messages.A: 4, messages.AAAA: 16}


@dataclass(frozen=True, slots=True)
class Forward:
    """Ask others: the container's own name servers, or the host's where it names none."""

    nameservers: tuple[str, ...] = ()


Reply: TypeAlias = bytes | Forward
_Found: TypeAlias = list[bytes] | None


def reply(query: Query, zones: Zones, source: str, limit: int, rng: random.Random) -> Reply:
    """Answer a query of the container with the address `source`, in at most `limit` bytes."""
    if query.rcode != messages.NOERROR:
        return messages.empty_message(query, query.rcode, own=False)
    view = zones.view(source)
    if view is None:
        return messages.empty_message(query, messages.REFUSED, own=False)
    found = lookup(view, query.name)
    if found is not None:
        if query.type != messages.ANY:
            size = _SIZES.get(query.type)
            found = [address for address in found if len(address) == size]
        if len(found) > 1:
            rng.shuffle(found)
        return messages.addresses_message(query, found, TTL_SECONDS, limit)
    if query.name.endswith((_REVERSE, _REVERSE6)):
        return _pointer(query, view, zones.ranges)
    if _is_for_others(view, query.name):
        return Forward(view.nameservers)
    return messages.empty_message(query, messages.NXDOMAIN, own=True)


def lookup(view: View, name: str) -> list[bytes] | None:
    """Return what a name means in a view: addresses, an empty list if it has none now, None if nobody has the name."""
    name = view.links.get(name, name)
    for zone in view.zones:
        found = _in_zone(zone, name, view.stack)
        if found is not None:
            return found
    for zone in view.zones:
        found = _hosts(zone, name, view.stack)
        if found is not None:
            return found
    for zone in view.zones:
        suffix = f".{zone.network.lower()}"
        if name.endswith(suffix):
            inner = name.removesuffix(suffix)
            found = _in_zone(zone, inner, view.stack)
            return found if found is not None else _hosts(zone, inner, view.stack)
    return None


def _hosts(zone: Zone, name: str, stack: str) -> _Found:
    services = tuple([records for records in zone.records if name in records.hosts])
    return _gather(_nearest(services, stack), lambda records: records.hosts[name]) if services else None


def _in_zone(zone: Zone, name: str, stack: str) -> _Found:
    services = zone.names.get(name)
    if services is not None:
        return _gather(_nearest(services, stack), lambda records: records.addresses)
    first, dot, rest = name.partition(".")
    if not dot:
        return None
    services = zone.names.get(rest)
    if services is not None:
        if first == TASKS:
            return _gather(_nearest(services, stack), lambda records: records.tasks)
        return _gather(_nearest(services, stack), lambda records: records.members.get(first, ())) or None
    services = zone.names.get(first)
    return _gather(services, lambda records: records.members.get(rest, ())) or None if services is not None else None


def _nearest(services: tuple[Records, ...], stack: str) -> tuple[Records, ...]:
    """Of several services with one name, take those of the asking container's stack, if there are any."""
    if len(services) == 1 or not stack:
        return services
    return tuple([records for records in services if records.stack == stack]) or services


def _gather(services: Iterable[Records], part: Callable[[Records], Iterable[bytes]]) -> list[bytes]:
    return [address for records in services for address in part(records)]


def _is_for_others(view: View, name: str) -> bool:
    """Whether a name that is not known may be one of the world outside: not a single word, not a slot of a service.

    A container that has name servers of its own may have them for single words, too.
    """
    first, dot, rest = name.partition(".")
    if not dot:
        return not name or bool(view.nameservers)
    ours = first == TASKS or first.isdecimal()
    return not (ours and any(rest in zone.names for zone in view.zones))


def _pointer(query: Query, view: View, ranges: Iterable[IPv4Network | IPv6Network]) -> Reply:
    address = _address_of(query.name)
    if address is None:
        return Forward(view.nameservers)
    target = next(_names_of(view, address.packed), None)
    if target is not None:
        if query.type not in (messages.PTR, messages.ANY):
            return messages.empty_message(query, messages.NOERROR, own=True)
        return messages.name_message(query, target, TTL_SECONDS)
    if any(address in each for each in ranges):
        return messages.empty_message(query, messages.NXDOMAIN, own=True)
    return Forward(view.nameservers)


def _names_of(view: View, address: bytes) -> Iterator[str]:
    for zone in view.zones:
        for records in zone.records:
            name = records.pointers.get(address)
            if name is not None and messages.is_name(name):
                yield name


def _address_of(name: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a reverse name is of; None for a whole range, or nonsense."""
    try:
        if name.endswith(_REVERSE6):
            digits = name.removesuffix(_REVERSE6).split(".")
            whole = len(digits) == _NIBBLES and all(len(digit) == 1 for digit in digits)
            return IPv6Address(bytes.fromhex("".join(reversed(digits)))) if whole else None
        return IPv4Address(".".join(reversed(name.removesuffix(_REVERSE).split("."))))
    except ValueError:
        return None
