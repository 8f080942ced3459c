"""The JSON that etcd's gateway speaks (`/v3/…`, etcd's `rpc.proto`): bytes are base64, 64-bit numbers strings.

What etcd answers is read into types that cannot be wrong; fields that are not needed are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any, TypeVar

import msgspec

from manager.store.backends.etcd.api import (
    Compacted,
    Delete,
    Get,
    KeyValue,
    NoAnswer,
    Operation,
    Outcome,
    Page,
    Put,
    Refused,
    Revision,
    Transaction,
)

T = TypeVar("T")

# gRPC's, as etcd uses them for what it certainly has not done.
_REFUSALS = {3, 5, 6, 7, 8, 9, 12, 16}
_OUT_OF_RANGE = 11


class Header(msgspec.Struct):
    revision: int = 0


class _KeyValue(msgspec.Struct):
    key: bytes
    value: bytes = b""
    mod_revision: int = 0

    def told(self) -> KeyValue:
        return KeyValue(self.key, self.value, self.mod_revision)


class _RangeAnswer(msgspec.Struct):
    header: Header = msgspec.field(default_factory=Header)
    kvs: list[_KeyValue] = []
    more: bool = False


class _OperationAnswer(msgspec.Struct):
    response_range: _RangeAnswer | None = None


class _TransactionAnswer(msgspec.Struct):
    header: Header
    succeeded: bool = False
    responses: list[_OperationAnswer] = []


class _Event(msgspec.Struct):
    kv: _KeyValue
    type: str = "PUT"


class _WatchResult(msgspec.Struct):
    header: Header = msgspec.field(default_factory=Header)
    created: bool = False
    canceled: bool = False
    cancel_reason: str = ""
    compact_revision: int = 0
    events: list[_Event] = []


class _WatchAnswer(msgspec.Struct):
    result: _WatchResult | None = None
    error: dict[str, Any] | None = None


class _Failure(msgspec.Struct):
    code: int = 2
    message: str = ""


def encode_transaction(transaction: Transaction) -> bytes:
    compare = [
        {"key": each.key, "target": "MOD", "result": "EQUAL", "mod_revision": str(each.mod)}
        for each in transaction.compare
    ]
    success, failure = (list(map(_operation, each)) for each in (transaction.success, transaction.failure))
    return msgspec.json.encode({"compare": compare, "success": success, "failure": failure})


def encode_read(first: bytes, end: bytes, limit: int, revision: int) -> bytes:
    return msgspec.json.encode({"key": first, "range_end": end, "limit": str(limit), "revision": str(revision)})


def encode_watch(prefix: bytes, end: bytes, revision: int) -> bytes:
    create = {"key": prefix, "range_end": end, "start_revision": str(revision)}
    return msgspec.json.encode({"create_request": create})


def decode_transaction(transaction: Transaction, content: bytes) -> Outcome:
    answer = _decode(content, _TransactionAnswer)
    done = transaction.success if answer.succeeded else transaction.failure
    if len(done) != len(answer.responses):
        raise NoAnswer(f"etcd answered {len(answer.responses)} of {len(done)} operations")
    found = []
    for operation, each in zip(done, answer.responses, strict=True):
        if isinstance(operation, Get):
            kvs = each.response_range.kvs if each.response_range is not None else []
            found.append(kvs[0].told() if kvs else None)
    return Outcome(answer.header.revision, answer.succeeded, tuple(found))


def decode_read(content: bytes) -> Page:
    answer = _decode(content, _RangeAnswer)
    return Page(answer.header.revision, tuple(each.told() for each in answer.kvs), answer.more)


def decode_watched(line: bytes, revision: int) -> Iterator[Revision]:
    """Yield the revisions of one line of a watch that began at `revision`.

    Raises:
        Compacted: the revision is gone, or etcd has not reached it, as it was restored.
        NoAnswer: the watch has ended.

    """
    answer = _decode(line, _WatchAnswer)
    result = answer.result
    if result is None or (result.canceled and not result.compact_revision):
        reason = result.cancel_reason if result is not None else str((answer.error or {}).get("message"))
        raise NoAnswer(f"etcd ended the watch: {reason}")
    if result.compact_revision:
        raise Compacted(f"etcd has nothing of revision {revision} any more: its oldest is {result.compact_revision}")
    if result.created and result.header.revision < revision - 1:
        raise Compacted(f"etcd is at revision {result.header.revision}, and was at {revision - 1} before")
    for number, events in groupby(result.events, key=lambda event: event.kv.mod_revision):
        yield Revision(number, tuple(map(_change, events)))


def failure(status: int, content: bytes) -> NoAnswer | Refused | Compacted:
    """Return what an answer means that is not the one asked for."""
    try:
        told = msgspec.json.decode(content, type=_Failure, strict=False)
    except msgspec.MsgspecError:
        return NoAnswer(f"etcd answered {status} {content[:200]!r}")
    message = f"etcd refuses: {told.message}"
    if told.code == _OUT_OF_RANGE:
        return Compacted(message)
    return Refused(message) if told.code in _REFUSALS else NoAnswer(message)


def _decode(content: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(content, type=kind, strict=False)
    except msgspec.MsgspecError as error:
        raise NoAnswer(f"etcd's answer cannot be read: {error}") from error


def _operation(operation: Operation) -> dict[str, Any]:
    match operation:
        case Put(key, value):
            return {"request_put": {"key": key, "value": value}}
        case Delete(key):
            return {"request_delete_range": {"key": key}}
        case Get(key):
            return {"request_range": {"key": key}}


def _change(event: _Event) -> Put | Delete:
    return Put(event.kv.key, event.kv.value) if event.type == "PUT" else Delete(event.kv.key)
