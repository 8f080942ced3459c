"""Neither half believes the other: whatever it sends is refused in words, and touches nothing outside."""

from __future__ import annotations

import os
import socket
import stat
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import ProtocolError, ResourceExhausted, SwarmError, Unavailable
from tests.unit.worker.volumes.copy.sessions import receiving
from tests.unit.worker.volumes.copy.trees import SmallDisk, scratch
from worker.volumes.copy.content import digests_of, root_of
from worker.volumes.copy.digests import Digests, packed
from worker.volumes.copy.entries import (
    BLOCK,
    DIGEST_BYTES,
    FILE,
    FOLDER,
    HARD_LINK,
    LARGE_BLOCK,
    MIB,
    SYMLINK,
    Record,
    digest,
    encode_record,
)
from worker.volumes.copy.haves import take_haves
from worker.volumes.copy.index import Row
from worker.volumes.copy.messages import (
    HEADER,
    PROTOCOL,
    Begin,
    Blocks,
    Change,
    Changes,
    End,
    Failed,
    Have,
    Haves,
    HavesEnd,
    Hello,
    Holes,
    Message,
    MoreBlocks,
    PassDone,
    PassEnd,
    PassStart,
    Stop,
    Verify,
    head,
)
from worker.volumes.copy.receive import OpenFile
from worker.volumes.copy.stream import Inbox, Stream

ROOT = os.geteuid() == 0
START = (Hello(PROTOCOL, "sender"), PassStart(1, False, 0))
EMPTY = Record(kind=FILE, mode=0o600, block=BLOCK, root=digest(b""))
ONE = Record(kind=FILE, mode=0o600, size=1, block=BLOCK, root=digest(b"x"))
TO_SECRET = Record(kind=SYMLINK, mode=0o777, target=b"../secret")
WRONG = Record(kind=FILE, mode=0o600, size=1, block=BLOCK, root=digest(b"y"))
LINK_OUT = Change(b"out", encode_record(Record(kind=SYMLINK, mode=0o777, target=b"..")))


@pytest.fixture
def place() -> Iterator[Path]:
    with scratch() as folder:
        for name in ("target", "work"):
            (folder / name).mkdir()
        (folder / "secret").write_text("secret")
        yield folder


def told(place: Path, *frames: bytes) -> BaseException | None:
    """Tell a receiver all that, and then nothing more; return how it ended."""
    near, far = socket.socketpair()
    with receiving(place / "target", place / "work", far) as half, near:
        reading = threading.Thread(target=_drain, args=(near,))
        reading.start()
        try:
            for each in frames:
                near.sendall(each)
            near.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it does not listen any more
        reading.join()
    return half.error


def _drain(near: socket.socket) -> None:
    try:
        while near.recv(65536):
            pass
    except ConnectionError:
        return


def frames(*messages: Message | tuple[Message, bytes]) -> list[bytes]:
    pairs = [each if isinstance(each, tuple) else (each, b"") for each in messages]
    return [head(message, len(payload)) + payload for message, payload in pairs]


def put(path: bytes, record: Record = EMPTY) -> Changes:
    return Changes((Change(path, encode_record(record)),))


@pytest.mark.parametrize(
    "messages",
    [
        [put(b"..\0outside")],
        [put(b"a\0..\0..\0outside")],
        [put(b"../outside")],
        [put(b"/outside")],
        [put(b"a\0\0b")],
        [put(b"x" * 256)],
        [Changes((LINK_OUT,)), put(b"out\0outside")],
        [Changes((LINK_OUT,)), Begin(b"out\0outside", BLOCK, BLOCK, True)],
        [Changes((LINK_OUT,)), Changes((Change(b"out\0secret", b""),))],
        [Changes((LINK_OUT,)), put(b"link", Record(kind=HARD_LINK, target=b"out\0secret"))],
        [put(b"link", Record(kind=HARD_LINK, target=b"..\0secret"))],
        [put(b"s", TO_SECRET), put(b"h", Record(kind=HARD_LINK, target=b"s"))],
        [put(b"s", TO_SECRET), Begin(b"s", BLOCK, BLOCK, False)],
        [Changes((Change(b"", b""),))],
        [put(b"", EMPTY)],
        [put(b"f\0below"), put(b"f")],
        [put(b"huge", Record(kind=FILE, size=2**62, block=BLOCK, root=digest(b"")))],
        [put(b"known", Record(kind=FILE, size=1, block=BLOCK, root=digest(b"x")))],
        [put(b"mode", Record(kind=FOLDER, mode=0o777777))],
        [put(b"attributes", Record(kind=FOLDER, attributes=((b"user.a\0", b""),)))],
        [put(b"label", Record(kind=FOLDER, attributes=((b"security.selinux", b"unconfined_u:object_r:bin_t:s0"),)))],
        [put(b"system", Record(kind=FOLDER, attributes=((b"system.nfs4_acl", b""),)))],
        [Changes((Change(b"f", encode_record(EMPTY), 10),))],
        [Changes((Change(b"f", encode_record(EMPTY), -1),))],
        [Changes((Change(b"f", b"\xc1"),))],
        [Begin(b"f", BLOCK, 2**62, True)],
        [Begin(b"f", 7, 7, True)],
        [Begin(b"f", BLOCK, BLOCK, True), Holes(2**40, 1)],
        [Begin(b"f", BLOCK, BLOCK, True), Holes(0, 2**40)],
        [Begin(b"f", BLOCK, BLOCK, True), Holes(-1, 1)],
        [Begin(b"f", BLOCK, BLOCK, True), Begin(b"g", BLOCK, BLOCK, True)],
        [Begin(b"f", BLOCK, BLOCK, True), (Blocks(0), b"x"), End(encode_record(WRONG))],
        [Begin(b"f", BLOCK, 1, True), (Blocks(0), b"x"), End(encode_record(WRONG))],
        [Begin(b"f", BLOCK, 2 * BLOCK, True), (Blocks(0), b"x")],
        [Begin(b"f", BLOCK, BLOCK, True), (Blocks(1), b"x")],
        [Begin(b"f", BLOCK, BLOCK, True), End(encode_record(Record(kind=FOLDER)))],
        [Begin(b"f", BLOCK, BLOCK, True), PassEnd(1)],
        [(Blocks(0), b"x")],
        [End(encode_record(EMPTY))],
        [PassEnd(2)],
        [PassStart(2, False, 0)],
        [Hello(PROTOCOL, "sender")],
    ],
)
def test_a_receiver_refuses_what_cannot_be(place: Path, messages: list) -> None:
    error = told(place, *frames(*START, *messages))
    assert isinstance(error, ProtocolError), error
    assert not (place / "outside").exists()
    assert (place / "secret").read_text() == "secret"
    assert (place / "secret").stat().st_nlink == 1


@pytest.mark.parametrize("start", [Hello(PROTOCOL + 1, "sender"), Hello(PROTOCOL, "receiver"), PassStart(1, False, 0)])
def test_a_receiver_refuses_another_protocol(place: Path, start: Message) -> None:
    assert isinstance(told(place, *frames(start)), ProtocolError)


@pytest.mark.parametrize("header", [(2**32 - 1, 0), (1, 2**32 - 1), (0, 0)])
def test_frames_are_bounded_before_they_are_read(place: Path, header: tuple[int, int]) -> None:
    assert isinstance(told(place, *frames(START[0]), HEADER.pack(*header)), ProtocolError)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.binary(max_size=50))
def test_any_bytes_end_in_words(place: Path, body: bytes, payload: bytes) -> None:
    error = told(place, *frames(*START), HEADER.pack(len(body), len(payload)) + body + payload)
    assert isinstance(error, SwarmError)


def test_a_device_is_not_opened_as_a_file(place: Path) -> None:
    if not ROOT:
        pytest.skip("needs root: it makes a device")
    device = Record(kind="c", mode=0o600, device=os.makedev(1, 3))
    error = told(place, *frames(*START, put(b"device", device), Begin(b"device", BLOCK, BLOCK, False)))
    assert isinstance(error, ProtocolError)
    assert stat.S_ISCHR((place / "target" / "device").lstat().st_mode)


@pytest.mark.parametrize(
    "messages",
    [
        [Begin(b"f", BLOCK, 96 * MIB, True), *((Blocks(8 * number), os.urandom(MIB)) for number in range(96))],
        [
            Changes(tuple(Change(b"%04d" % each, encode_record(EMPTY)) for each in range(at, at + 50)))
            for at in range(100, 1200, 50)
        ],
    ],
)
def test_a_sender_cannot_fill_the_targets_disk(place: Path, monkeypatch: pytest.MonkeyPatch, messages: list) -> None:
    """It says that it needs no room at all."""
    monkeypatch.setattr(os, "statvfs", SmallDisk.beside(place / "target"))
    error = told(place, *frames(*START, *messages))
    assert isinstance(error, ResourceExhausted), error
    disk = SmallDisk(place / "target")
    assert disk.f_bavail > 0
    assert disk.f_favail > 0


OFTEN = [(Changes((Change(b"f", encode_record(ONE), 1),)), b"x")] * 3
BLOCK_OF_X = (Blocks(0), b"x" * BLOCK)


@pytest.mark.parametrize(
    "messages",
    [
        OFTEN,
        [put(b"b"), put(b"a")],
        [put(b"a", Record(kind=FOLDER)), put(b"a\0b"), put(b"a")],
        [Changes((Change(b"f", b""), Change(b"f", b"")))],
        [Begin(b"f", BLOCK, 2 * BLOCK, True), BLOCK_OF_X, BLOCK_OF_X],
        [Begin(b"f", BLOCK, 2 * BLOCK, True), Holes(1, 1), BLOCK_OF_X],
    ],
)
def test_a_sender_cannot_say_the_same_for_ever(place: Path, messages: list) -> None:
    """A pass says of each file once what it is, in the order of a walk, so it comes to an end."""
    error = told(place, *frames(*START, *messages))
    assert isinstance(error, ProtocolError), error
    assert "order" in error.message


def test_a_sender_cannot_make_passes_for_ever(place: Path) -> None:
    passes = [message for number in range(1, 200) for message in (PassStart(number, False, 0), PassEnd(number))]
    error = told(place, *frames(START[0], *passes))
    assert isinstance(error, ProtocolError), error
    assert "passes" in error.message


def test_a_sender_cannot_send_far_more_than_it_announced(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.volumes.copy.allowance.SLACK", MIB)
    sent = [(Blocks(8 * number), b"x" * MIB) for number in range(40)]
    error = told(place, *frames(START[0], PassStart(1, False, MIB), Begin(b"f", BLOCK, 64 * MIB, True), *sent))
    assert isinstance(error, ResourceExhausted), error
    assert "more than 17MiB in one pass, for 1MiB" in error.message
    assert (place / "target" / "f").stat().st_size <= 18 * MIB


def test_what_is_still_to_be_written_takes_room(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a disk that is slow would be full before the file system tells so."""
    go_on = threading.Event()
    monkeypatch.setattr("worker.volumes.copy.receive.write_all", lambda *_: go_on.wait())
    with ThreadPoolExecutor(1) as pool:
        into = os.open(place / "target" / "f", os.O_WRONLY | os.O_CREAT, 0o600)
        file = OpenFile(Begin(b"f", BLOCK, 2 * BLOCK, True), into, Digests())
        for number in range(2):
            file.write(pool, number, bytearray(BLOCK))
        assert file.under_way == 2 * BLOCK
        go_on.set()
        file.close()
        assert file.under_way == 0


def test_holes_cost_a_target_no_memory(place: Path) -> None:
    """A few bytes say that a file is 8 TiB long: the digests of so many blocks would be 160 MiB, several times."""
    blocks = 8 * MIB
    size = blocks * LARGE_BLOCK
    record = Record(kind=FILE, size=size, block=LARGE_BLOCK, root=Digests(blocks).root())
    holes = [Begin(b"f", LARGE_BLOCK, size, True), Holes(0, blocks), End(encode_record(record))]
    messages = frames(*START, *holes, PassEnd(1), Verify(), Stop())
    tracemalloc.start()
    try:
        error = told(place, *messages)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert error is None
    assert (place / "target" / "f").stat().st_size == size
    assert peak < 20 * MIB


# --- the sender's side ------------------------------------------------------------------------------------------------


def heard(*messages: Message | tuple[Message, bytes]) -> list[Row]:
    """Let a sender hear all that, and then nothing more; return what it takes for the receiver's."""
    near, far = socket.socketpair()
    with near, far:
        far.sendall(b"".join(frames(*messages)))
        far.shutdown(socket.SHUT_WR)
        return list(take_haves(Stream(near.fileno(), near.fileno())))


GREETING = Hello(PROTOCOL, "receiver")
CONTENT = b"x" * BLOCK * 3
BLOCKS = digests_of(CONTENT, BLOCK)
WHOLE = encode_record(Record(kind=FILE, size=len(CONTENT), block=BLOCK, root=root_of(BLOCKS)))


def test_a_sender_hears_what_there_is() -> None:
    items = (Have(b"a", encode_record(Record(kind=FOLDER)), b""), Have(b"b", WHOLE, BLOCKS[:20]))
    assert heard(GREETING, Haves(items), (MoreBlocks(), BLOCKS[20:]), Haves(()), HavesEnd()) == [
        Row(b"a", b"", items[0].record, b""),
        Row(b"b", b"", WHOLE, packed(BLOCKS)),
    ]


@pytest.mark.parametrize(
    "messages",
    [
        [Hello(PROTOCOL + 1, "receiver")],
        [Hello(PROTOCOL, "sender")],
        [GREETING, PassEnd(1)],
        [GREETING, Haves((Have(b"..", WHOLE, BLOCKS),)), HavesEnd()],
        [GREETING, Haves((Have(b"b", WHOLE, BLOCKS), Have(b"a", WHOLE, BLOCKS))), HavesEnd()],
        [GREETING, Haves((Have(b"b", WHOLE, BLOCKS),)), Haves((Have(b"b", WHOLE, BLOCKS),)), HavesEnd()],
        [GREETING, Haves((Have(b"b", WHOLE, BLOCKS[20:]),)), HavesEnd()],
        [GREETING, Haves((Have(b"b", WHOLE, BLOCKS[:40] + bytes(20)),)), HavesEnd()],
        [GREETING, Haves((Have(b"b", WHOLE, BLOCKS[:20]),)), (MoreBlocks(), bytes(80)), HavesEnd()],
        [GREETING, (MoreBlocks(), BLOCKS), HavesEnd()],
        [GREETING, Haves((Have(b"b", b"\xc1", b""),)), HavesEnd()],
        [GREETING, Haves(()), Haves(()), HavesEnd()],
    ],
)
def test_a_sender_refuses_what_cannot_be(messages: list) -> None:
    with pytest.raises(ProtocolError):
        heard(*messages)


def test_a_receiver_does_not_answer_without_end() -> None:
    """What it has answered waits in the sender's memory until it is asked for."""
    near, far = socket.socketpair()
    with near, far:
        stream = Stream(near.fileno(), near.fileno())
        inbox = Inbox(stream)
        far.sendall(b"".join(frames(*(PassDone(number, b"") for number in range(1, 100)))))
        far.shutdown(socket.SHUT_WR)
        inbox.hear_receiver()
        assert len(inbox._answers) == 1
        with pytest.raises(ProtocolError, match="without being asked"):
            stream.check()


def test_a_receiver_that_is_gone_is_said() -> None:
    with pytest.raises(Unavailable, match="gone"):
        heard(GREETING, Haves((Have(b"b", WHOLE, BLOCKS),)))


def test_words_of_the_other_side_do_not_act() -> None:
    with pytest.raises(ResourceExhausted) as caught:
        heard(Failed("ResourceExhausted", "full\x1b[2J\n" + "x" * 5000))
    assert caught.value.message.startswith("full?[2J?xxx")
    assert len(caught.value.message) == 1000


def test_holes_cost_a_source_no_memory() -> None:
    """A target that says that it has such a file has to send all its digests, of which nothing is kept."""
    blocks = 2 * MIB
    digests = bytes(blocks * DIGEST_BYTES)
    record = encode_record(Record(kind=FILE, size=blocks * LARGE_BLOCK, block=LARGE_BLOCK, root=Digests(blocks).root()))
    near, far = socket.socketpair()
    with near, far:
        saying = threading.Thread(target=_say, args=(far, record, digests))
        saying.start()
        tracemalloc.start()
        try:
            (row,) = take_haves(Stream(near.fileno(), near.fileno()))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            saying.join()
    assert len(row.blocks) < 10
    assert peak < 10 * MIB


def _say(far: socket.socket, record: bytes, digests: bytes) -> None:
    parts = memoryview(digests)
    far.sendall(b"".join(frames(Hello(PROTOCOL, "receiver"), Haves((Have(b"f", record, b""),)))))
    for at in range(0, len(digests), 200_000):
        part = parts[at : at + 200_000]
        far.sendall(head(MoreBlocks(), len(part)) + part)
    far.sendall(b"".join(frames(Haves(()), HavesEnd())))
