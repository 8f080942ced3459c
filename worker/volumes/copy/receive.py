"""The receiver: says what the target folder has, then makes the changes that it is sent.

A sender is a stranger's word: each message is typed and bounded, and what it says of content must be true of what came.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from common.errors import ProtocolError, ResourceExhausted, SwarmError, of_code
from worker.volumes.copy.allowance import Allowance
from worker.volumes.copy.content import Reader, digests_of, root_of, write_all
from worker.volumes.copy.digests import Digests, packed
from worker.volumes.copy.entries import (
    FILE,
    FOLDER,
    HARD_LINK,
    Record,
    block_size,
    count_blocks,
    decode_record,
    encode_record,
    is_possible_size,
    parent_of,
    parse_path,
    parse_record,
    show,
)
from worker.volumes.copy.haves import say_haves
from worker.volumes.copy.index import Index, Row, TreeDigest, merge
from worker.volumes.copy.messages import (
    PROTOCOL,
    Begin,
    Blocks,
    Change,
    Changes,
    End,
    Failed,
    FromSender,
    Hello,
    Holes,
    PassDone,
    PassEnd,
    PassStart,
    Stop,
    Verified,
    Verify,
    parse_from_sender,
)
from worker.volumes.copy.scan import QUIET, Scanner, key_of
from worker.volumes.copy.stream import Stream
from worker.volumes.copy.system import be_idle, punch_hole, refusal, room_on, sync_file_system
from worker.volumes.copy.target import Target
from worker.volumes.copy.walk import Found, open_regular, walk

_WRITERS = 2
_WRITES_AHEAD = 4


class OpenFile:
    """A file whose blocks come: its digests so far, and the writes under way."""

    def __init__(self, begin: Begin, file: int, digests: Digests) -> None:
        self.path = begin.path
        self.block = begin.block
        self.file = file
        self._size = begin.size
        self._blocks = count_blocks(begin.size, begin.block)
        self._digests = digests
        self._digests.resize(self._blocks)
        self._writes: deque[tuple[Future[None], int]] = deque()
        self._next = 0

    @property
    def under_way(self) -> int:
        """How many bytes are still to be written."""
        return sum(size for write, size in self._writes if not write.done())

    def write(self, pool: ThreadPoolExecutor, first: int, data: bytearray) -> None:
        """Write consecutive blocks, all whole but that at the end of the file, soon."""
        self._expect(first, count_blocks(len(data), self.block))
        if len(data) % self.block and first * self.block + len(data) != self._size:
            raise ProtocolError(f"the sender sends a part of a block of {show(self.path)}")
        if len(self._writes) >= _WRITES_AHEAD:
            self._writes.popleft()[0].result()
        self._writes.append((pool.submit(self._write, first, data), len(data)))

    def _write(self, first: int, data: bytearray) -> None:
        self._digests.set(first, digests_of(data, self.block))
        write_all(self.file, data, first * self.block)

    def make_holes(self, first: int, count: int) -> None:
        self._expect(first, count)
        self._digests.clear(first, count)
        begin, end = first * self.block, min((first + count) * self.block, os.fstat(self.file).st_size)
        if begin < end and not punch_hole(self.file, begin, end - begin):
            for at in range(begin, end, self.block):
                write_all(self.file, bytes(min(self.block, end - at)), at)

    def finish(self, record: Record) -> bytes:
        """Wait for all writes; return the digests of what the file has now, packed.

        Raises:
            ProtocolError: it is not what the sender says.

        """
        while self._writes:
            self._writes.popleft()[0].result()
        os.ftruncate(self.file, record.size)
        self._digests.resize(count_blocks(record.size, record.block))
        if record.block != self.block or self._digests.root() != record.root:
            raise ProtocolError(f"what was received for {show(self.path)} is not what the sender announced")
        return self._digests.pack()

    def close(self) -> None:
        for write, _ in self._writes:
            write.exception()
        os.close(self.file)

    def _expect(self, first: int, count: int) -> None:
        if not (first >= 0 and count > 0 and first + count <= self._blocks):
            raise ProtocolError(f"the sender sends blocks that {show(self.path)} does not have")
        if first < self._next:
            raise ProtocolError(f"the sender sends blocks of {show(self.path)} out of order")
        self._next = first + count


class Receiver:
    """The receiver's half of a session: `run` it, then `close` it."""

    def __init__(self, root: int, index: Index, stream: Stream, base: int, *, is_idle: bool = False) -> None:
        self._is_idle = is_idle
        self._root = root
        self._index = index
        self._stream = stream
        self._scanner = Scanner(base)
        self._target = Target(root, base)
        self._pool = ThreadPoolExecutor(_WRITERS, thread_name_prefix="write")
        self._file: OpenFile | None = None
        self._pass: PassStart | None = None
        self._allowance = Allowance()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._pool.shutdown()
        self._target.close()

    def run(self) -> None:
        """Do what the sender says until it says stop.

        Raises:
            SwarmError: it is gone, or the target cannot be made so.

        """
        body, length = self._stream.receive()
        hello = parse_from_sender(body)
        self._stream.payload(length)
        if not isinstance(hello, Hello) or hello.protocol != PROTOCOL or hello.role != "sender":
            raise ProtocolError("the other side of the copy is not a sender of this version")
        self._stream.send(Hello(PROTOCOL, "receiver"))
        say_haves(self._stream, self._scan(trusted=True))
        while True:
            body, length = self._stream.receive()
            message = parse_from_sender(body)
            payload = self._stream.payload(length)
            if isinstance(message, Stop):
                return
            if isinstance(message, Failed):
                raise of_code(message.code, message.message)
            self._obey(message, payload)

    # --- saying what there is -----------------------------------------------------------------------------------------

    def _scan(self, *, trusted: bool) -> Iterator[Row]:
        """Yield all that the folder has. trusted: what looks as it did is not read."""
        first_paths: dict[int, bytes] = {}
        reader = Reader()
        try:
            for found, row in merge(walk(self._root), self._index.rows()):
                if found is None:
                    if row is not None and trusted:
                        self._index.remove(row.path)
                    continue
                with _refusals(found.path):
                    new = self._look(reader, found, row if trusted else None, row, first_paths)
                if new is not None:
                    if trusted and new != row:
                        self._index.put(new)
                    if trusted:
                        self._allowance.has(found.status.st_size)
                    yield new
        finally:
            reader.close()

    def _look(
        self, reader: Reader, found: Found, trusted: Row | None, row: Row | None, first_paths: dict[int, bytes]
    ) -> Row | None:
        status, path = found.status, found.path
        if not stat.S_ISREG(status.st_mode):
            record = self._scanner.record(found)
            return Row(path, key_of(status), encode_record(record), b"") if record is not None else None
        if status.st_nlink > 1 and (first := first_paths.setdefault(status.st_ino, path)) != path:
            return Row(path, b"", encode_record(Record(kind=HARD_LINK, target=first)), b"")
        if trusted is not None and trusted.key == key_of(status):
            return trusted
        file = open_regular(found.name, found.folder, os.O_RDONLY | os.O_NOATIME)
        if file is None:
            return None
        try:
            if trusted is None:
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            block = block_size(status.st_size, decode_record(row.record).block if row is not None else 0)
            blocks = Digests()
            for chunk in reader.chunks(file, status.st_size, block):
                blocks.append(chunk.digests)
            record = self._scanner.file_record(file, status, status.st_size, block, blocks.root())
            return Row(path, QUIET.key(status), encode_record(record), blocks.pack())
        finally:
            os.close(file)

    # --- doing what the sender says -----------------------------------------------------------------------------------

    def _obey(self, message: FromSender, payload: bytearray) -> None:
        match message:
            case PassStart():
                self._start(message)
            case Changes() if self._file is None and self._pass is not None:
                self._change_all(message, payload)
            case Begin() if self._file is None and self._pass is not None:
                with _refusals(message.path):
                    self._begin(message)
            case Blocks() if self._file is not None:
                self._allowance.spend(len(payload))
                self._check_room(self._file.under_way + len(payload))
                with self._room(self._file.path):
                    self._file.write(self._pool, message.first, payload)
            case Holes() if self._file is not None:
                self._check_room()
                with self._room(self._file.path):
                    self._file.make_holes(message.first, message.count)
            case End() if self._file is not None:
                with self._room(self._file.path):
                    self._end(self._file, parse_record(message.record))
            case PassEnd() if self._file is None and self._pass is not None and self._pass.number == message.number:
                self._finish(self._pass)
            case Verify() if self._file is None and self._pass is None:
                self._stream.send(Verified(self._read_back()))
            case _:
                raise ProtocolError(f"the sender says {type(message).__name__} where that makes no sense")

    def _start(self, start: PassStart) -> None:
        if self._pass is not None or self._file is not None:
            raise ProtocolError("the sender begins a pass within another")
        if start.last and self._is_idle:
            be_idle(False)
            self._pool.shutdown()
            self._pool = ThreadPoolExecutor(_WRITERS, thread_name_prefix="write")
        self._allowance.begin(start.number, start.room)
        self._pass = start
        if (missing := self._missing()) > 0:
            raise ResourceExhausted(f"the target has too little room: {missing} bytes more are needed")

    def _missing(self) -> int:
        """Return how many bytes the file system has too few for the rest of the pass, as the sender estimated it."""
        room = self._pass.room if self._pass is not None else 0
        return room - self._allowance.spent - room_on(self._root).bytes

    def _check_room(self, more: int = 0) -> None:
        """Refuse to fill the disk of everyone else here: what a sender has announced is its own word.

        `more`: bytes that the file system does not count yet.
        """
        room = room_on(self._root)
        if room._replace(bytes=room.bytes - more).is_used_up:
            raise ResourceExhausted("the target has too little room: the rest of its disk is for others")

    def _change_all(self, changes: Changes, payload: bytearray) -> None:
        self._allowance.spend(len(payload))
        self._check_room()
        content, at = memoryview(payload), 0
        for change in changes.items:
            path = parse_path(change.path)
            self._allowance.go_to(path, removing=not change.record)
            if not 0 <= change.length <= len(content) - at:
                raise ProtocolError("the sender sends less content than it says")
            try:
                self._change(path, change, content[at : at + change.length])
            except OSError as error:
                raise self._refusal(error, path) from error
            at += change.length
        if at != len(content):
            raise ProtocolError("the sender sends more content than it says")

    def _change(self, path: bytes, change: Change, content: memoryview) -> None:
        if path:
            self._index.distrust(parent_of(path))
        if not change.record:
            self._target.remove(path)
            self._index.remove(path)
            return
        record = parse_record(change.record)
        encoded = encode_record(record)
        if not path and record.kind != FOLDER:
            raise ProtocolError("the sender takes the folder itself for something else")
        if record.kind == FOLDER:
            self._target.make_folder(path)
            self._index.put(Row(path, b"", encoded, b""))
        elif record.kind == HARD_LINK:
            self._target.make_link(path, record.target)
            self._index.put(Row(path, b"", encoded, b""))
            self._update_key(record.target)
        elif record.kind != FILE:
            status = self._target.make_other(path, record)
            self._index.put(Row(path, QUIET.key(status), encoded, b""))
        else:
            self._put_file(path, record, encoded, content)

    def _put_file(self, path: bytes, record: Record, encoded: bytes, content: memoryview) -> None:
        """Write a file of one block, or, if there is no content though there should be, change its metadata alone."""
        if content or not record.size:
            digests = digests_of(content, record.block)
            if len(content) != record.size or root_of(digests) != record.root:
                raise ProtocolError(f"what was received for {show(path)} is not what the sender announced")
            blocks = packed(digests)
            status = self._target.write_file(path, content, record)
        else:
            row = self._index.get(path)
            if row is None or decode_record(row.record).root != record.root:
                raise ProtocolError(f"the sender takes the content of {show(path)} for known, which it is not")
            blocks = row.blocks
            file = self._target.open_file(path)
            try:
                status = self._target.set_metadata(path, file, record)
            finally:
                os.close(file)
        self._index.put(Row(path, QUIET.key(status), encoded, blocks))

    def _update_key(self, path: bytes) -> None:
        """Let a file be known again whose time of change a new link to it has changed."""
        row = self._index.get(path)
        if row is None:
            raise ProtocolError(f"the sender links to {show(path)}, which it has not sent")
        self._index.put(row._replace(key=key_of(self._target.status(path))))

    def _begin(self, begin: Begin) -> None:
        path = parse_path(begin.path)
        if not path or not is_possible_size(begin.size, begin.block):
            raise ProtocolError(f"the sender begins {show(path)} with a size that no file has")
        self._allowance.go_to(path)
        self._index.distrust(parent_of(path))
        if begin.anew:
            self._index.remove(path)
            self._file = OpenFile(begin, self._target.make_file(path), Digests())
            return
        row = self._index.get(path)
        old = decode_record(row.record) if row is not None else None
        if row is None or old is None or old.kind != FILE or old.block != begin.block:
            raise ProtocolError(f"the sender takes the content of {show(path)} for known, which it is not")
        self._file = OpenFile(begin, self._target.open_file(path), Digests.unpack(row.blocks))

    def _end(self, open_file: OpenFile, record: Record) -> None:
        if record.kind != FILE:
            raise ProtocolError(f"the sender now takes {show(open_file.path)} for something else")
        blocks = open_file.finish(record)
        status = self._target.set_metadata(open_file.path, open_file.file, record)
        self._file = None
        open_file.close()
        self._index.put(Row(open_file.path, QUIET.key(status), encode_record(record), blocks))

    def _finish(self, this: PassStart) -> None:
        """Give all folders that were changed their metadata, and answer."""
        for row in self._index.distrusted():
            record = decode_record(row.record)
            if record.kind == FOLDER:
                with _refusals(row.path):
                    status = self._target.set_metadata(row.path, self._target.folder(row.path), record)
                self._index.put(row._replace(key=QUIET.key(status)))
        self._index.flush()
        if this.last:
            sync_file_system(self._root)
        self._pass = None
        self._stream.send(PassDone(this.number, self._index.digest() if this.last else b""))

    def _read_back(self) -> bytes:
        sync_file_system(self._root)
        digest = TreeDigest()
        for have in self._scan(trusted=False):
            digest.add(have.path, have.record)
        return digest.digest()

    @contextmanager
    def _room(self, path: bytes) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._refusal(error, path) from error

    def _refusal(self, error: OSError, path: bytes) -> SwarmError:
        """Word what the kernel refused; where it has no room, with what is missing."""
        refused = refusal(error, "target", show(path))
        if not isinstance(refused, ResourceExhausted):
            return refused
        return ResourceExhausted(f"{refused.message}; about {max(self._missing(), 0)} bytes more are needed")


@contextmanager
def _refusals(path: bytes) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refusal(error, "target", show(path)) from error
