"""The sender: walks the source folder, and sends what differs from what the receiver has."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from common.errors import FailedPrecondition, ProtocolError
from worker.volumes.copy.content import Chunk, Reader, digests_of, read_all, root_of
from worker.volumes.copy.digests import Digests, packed
from worker.volumes.copy.entries import (
    BLOCK,
    DIGEST_BYTES,
    FILE,
    FOLDER,
    HARD_LINK,
    ZEROS,
    Record,
    block_size,
    decode_record,
    encode_record,
    is_below,
    is_possible_size,
    show,
)
from worker.volumes.copy.haves import take_haves
from worker.volumes.copy.index import Index, Row, merge
from worker.volumes.copy.messages import (
    BATCH_BYTES,
    BATCH_ITEMS,
    PROTOCOL,
    Begin,
    Blocks,
    Change,
    Changes,
    End,
    Hello,
    Holes,
    PassDone,
    PassEnd,
    PassStart,
    Verified,
    Verify,
)
from worker.volumes.copy.passes import Work
from worker.volumes.copy.scan import Moment, Scanner, begin_moment, key_of, unsettled_moment
from worker.volumes.copy.stream import Inbox, Stream
from worker.volumes.copy.system import refusal
from worker.volumes.copy.walk import VANISHED, Found, opener, walk


@dataclass(slots=True)
class Tally:
    """What a pass has done so far: bytes of content sent and read, files that were read.

    `settling`: seconds of waiting for the disk at its beginning, which depend on what others write to it.
    """

    sent: int = 0
    read: int = 0
    files: int = 0
    settling: float = 0.0


@dataclass(frozen=True, slots=True)
class Survey:
    """What a pass would have to do, by the looks of the files. room: bytes that the target has not got yet."""

    work: Work
    room: int


@dataclass(slots=True)
class _Pass:
    """What one pass keeps in mind.

    first_paths: of files with several links, by inode. resent: those of these paths whose file the receiver makes anew,
    so that all its other links must be made anew too.
    """

    moment: Moment
    tally: Tally
    tick: Callable[[Tally], None]
    first_paths: dict[int, bytes] = field(default_factory=dict)
    resent: set[bytes] = field(default_factory=set)
    removed: bytes | None = None

    def first_path(self, found: Found) -> bytes:
        """Return the path under which a file was found first in this pass."""
        if found.status.st_nlink == 1:
            return found.path
        return self.first_paths.setdefault(found.status.st_ino, found.path)


class Sender:
    """The sender's half of a session: `greet`, then passes as the parent wants them.

    base: what is taken from owners. begin: what makes certain, at the beginning of a pass, what later changes show.
    """

    def __init__(
        self,
        root: int,
        index: Index,
        stream: Stream,
        inbox: Inbox,
        base: int,
        begin: Callable[[int], Moment] = begin_moment,
    ) -> None:
        self._begin = begin
        self._root = root
        self._open = opener(root)
        self._index = index
        self._stream = stream
        self._inbox = inbox
        self._scanner = Scanner(base)
        self._reader = Reader()
        self._items: list[Change] = []
        self._contents: list[bytes] = []
        self._batched = 0
        self._number = 0

    def close(self) -> None:
        self._reader.close()

    def renew_reader(self) -> None:
        """Let this thread's priority be that of its readers."""
        self._reader.close()
        self._reader = Reader()

    # --- learning what the receiver has -------------------------------------------------------------------------------

    def greet(self) -> None:
        """Take over what the receiver has.

        Raises:
            SwarmError: it speaks another protocol, or not what it should.

        """
        self._stream.send(Hello(PROTOCOL, "sender"))
        self._index.begin_replacing()
        for have in take_haves(self._stream):
            self._index.replace(have.path, have.record, have.blocks)
        self._index.end_replacing()

    # --- passes -------------------------------------------------------------------------------------------------------

    def survey(self) -> Survey:
        """Look at all files, reading none: what would a pass have to do."""
        files = size = room = 0
        began = time.monotonic()
        linked = set()
        for found, row in merge(walk(self._root), self._index.rows()):
            self._stream.check()
            if found is None or not stat.S_ISREG((status := found.status).st_mode):
                continue
            if status.st_nlink > 1:
                if status.st_ino in linked:
                    continue
                linked.add(status.st_ino)
            if row is None or row.key != key_of(status):
                taken = min(status.st_size, status.st_blocks * 512)
                files += 1
                size += taken
                had = decode_record(row.record).size if row is not None else 0
                room += max(0, taken - had)
        return Survey(Work(files, size, time.monotonic() - began), room)

    def make_pass(
        self, last: bool, room: int, tick: Callable[[Tally], None], taken: Callable[[], None] = lambda: None
    ) -> tuple[Tally, bytes]:
        """Make a pass; return what it did, and after a last one the digest of both sides.

        last: nobody writes until `taken` is called, when all is read. room: bytes that it needs on the target.
        tick: called now and then.

        Raises:
            SwarmError: it cannot go on.

        """
        self._number += 1
        began = time.monotonic()
        moment = unsettled_moment() if last else self._begin(self._root)
        this = _Pass(moment, Tally(settling=time.monotonic() - began), tick)
        self._stream.send(PassStart(self._number, last, room))
        for found, row in merge(walk(self._root), self._index.rows()):
            self._stream.check()
            if found is None:
                self._gone(this, row)
            else:
                self._look(this, found, row)
            tick(this.tally)
        if last:
            taken()
        self._flush()
        self._stream.send(PassEnd(self._number))
        answer = self._inbox.answer(PassDone)
        if answer.number != self._number:
            raise ProtocolError("the receiver answers another pass than that which was made")
        if moment.was_clock_set():
            self._index.distrust_all()
        if not last:
            return this.tally, b""
        own = self._index.digest()
        if answer.digest != own:
            raise FailedPrecondition("the target does not match what was sent: the digests differ")
        return this.tally, own

    def verify(self) -> bytes:
        """Let the receiver read back what it has; return the digest.

        Raises:
            FailedPrecondition: it is not what was sent.

        """
        self._stream.send(Verify())
        own = self._index.digest()
        if self._inbox.answer(Verified).digest != own:
            raise FailedPrecondition(
                "the target reads back something other than what was written to it: the digests differ"
            )
        return own

    # --- one file -----------------------------------------------------------------------------------------------------

    def _gone(self, this: _Pass, row: Row | None) -> None:
        if row is None:
            return
        if this.removed is None or not is_below(row.path, this.removed):
            this.removed = row.path
            self._change(row.path, b"")
            self._index.remove(row.path)

    def _look(self, this: _Pass, found: Found, row: Row | None) -> None:
        if row is not None and not stat.S_ISDIR(found.status.st_mode) and decode_record(row.record).kind == FOLDER:
            self._gone(this, row)
            row = None
        try:
            if not stat.S_ISREG(found.status.st_mode):
                self._other(this, found, row)
            elif (first := this.first_path(found)) == found.path:
                self._file(this, found, row)
            else:
                self._link(this, found, row, first)
        except OSError as error:
            if error.errno not in VANISHED:
                raise refusal(error, "source", show(found.path)) from error
            self._vanished(this, found, row)

    def _vanished(self, this: _Pass, found: Found, row: Row | None) -> None:
        """Take a file for gone that is not there any more, or is something else by now: the next pass sees what."""
        if this.first_paths.get(found.status.st_ino) == found.path:
            del this.first_paths[found.status.st_ino]
        self._gone(this, row)

    def _other(self, this: _Pass, found: Found, row: Row | None) -> None:
        key = key_of(found.status)
        if row is not None and row.key == key:
            return
        record = self._scanner.record(found)
        if record is None:
            return
        self._put(found.path, this.moment.key(found.status), encode_record(record), b"", row)

    def _link(self, this: _Pass, found: Found, row: Row | None, first: bytes) -> None:
        record = encode_record(Record(kind=HARD_LINK, target=first))
        self._put(found.path, b"", record, b"", None if first in this.resent else row)

    def _put(self, path: bytes, key: bytes, record: bytes, blocks: bytes, row: Row | None) -> None:
        """Send a record that is not what the receiver has, and remember it."""
        if row is None or row.record != record:
            self._change(path, record)
        if row is None or (row.record, row.key) != (record, key):
            self._index.put(Row(path, key, record, blocks))

    def _file(self, this: _Pass, found: Found, row: Row | None) -> None:
        if row is not None and row.key == key_of(found.status):
            return
        file = self._open(found.name, found.folder, os.O_RDONLY | os.O_NOATIME)
        if file is None:
            self._vanished(this, found, row)
            return
        try:
            self._read(this, found, row, file)
        finally:
            os.close(file)

    def _read(self, this: _Pass, found: Found, row: Row | None, file: int) -> None:
        size = found.status.st_size
        block, known = _known(row, size)
        if not is_possible_size(size, block):
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        content, began = b"", False
        if size <= BLOCK:
            content = read_all(file, size)
            digests = digests_of(content, block)
            blocks, root = packed(digests), root_of(digests)
        else:
            begin = Begin(found.path, block, size, known is None)
            all_digests, began = self._send_blocks(this, begin, Digests.unpack(known or b""), file)
            blocks, root = all_digests.pack(), all_digests.root()
        status = os.fstat(file)
        record = encode_record(self._scanner.file_record(file, status, size, block, root))
        if began:
            self._stream.send(End(record))
        elif blocks != known:
            self._change(found.path, record, content)
            this.tally.sent += size
        elif row is None or row.record != record:
            self._change(found.path, record)
        if blocks != known:
            this.resent.add(found.path)
        this.tally.files += 1
        this.tally.read += len(content)
        key = this.moment.key(status) if status.st_size == size else b""
        self._index.put(Row(found.path, key, record, blocks))

    def _send_blocks(self, this: _Pass, begin: Begin, known: Digests, file: int) -> tuple[Digests, bool]:
        """Read a file of several blocks and send those that differ; return all digests, and whether it was begun."""
        self._flush()
        blocks, began = Digests(), False
        for chunk in self._reader.chunks(file, begin.size, begin.block):
            for message, payload in _differing(chunk, known, begin.block):
                if not began:
                    self._stream.send(begin)
                    began = True
                self._stream.send(message, payload)
                this.tally.sent += sum(map(len, payload))
            blocks.append(chunk.digests)
            this.tally.read += len(chunk.data)
            this.tick(this.tally)
        if not began and (begin.anew or len(blocks) != len(known)):
            self._stream.send(begin)
            began = True
        return blocks, began

    # --- batches ------------------------------------------------------------------------------------------------------

    def _change(self, path: bytes, record: bytes, content: bytes = b"") -> None:
        self._items.append(Change(path, record, len(content)))
        self._batched += len(path) + len(record) + len(content)
        if content:
            self._contents.append(content)
        if self._batched >= BATCH_BYTES or len(self._items) >= BATCH_ITEMS:
            self._flush()

    def _flush(self) -> None:
        if self._items:
            self._stream.send(Changes(tuple(self._items)), self._contents)
            self._items, self._contents, self._batched = [], [], 0


def _known(row: Row | None, size: int) -> tuple[int, bytes | None]:
    """Return the block size to read a file with, and the digests of the blocks that the receiver has; None if none."""
    old = decode_record(row.record) if row is not None else None
    if row is None or old is None or old.kind != FILE:
        return block_size(size), None
    block = block_size(size, old.block)
    return block, row.blocks if block == old.block else None


def _differing(chunk: Chunk, known: Digests, block: int) -> Iterator[tuple[Blocks | Holes, list[memoryview]]]:
    """Yield what to send of a chunk: its runs of blocks that are not as the receiver has them."""
    # What the receiver has not got is a hole there.
    old = known.read(chunk.first, chunk.blocks)
    if old == chunk.digests:
        return
    data = memoryview(chunk.data)
    kinds = [_kind(chunk.digests, old, number) for number in range(chunk.blocks)]
    start = 0
    for end in range(1, chunk.blocks + 1):
        if end < chunk.blocks and kinds[end] == kinds[start]:
            continue
        if kinds[start] == "holes":
            yield Holes(chunk.first + start, end - start), []
        elif kinds[start] == "data":
            yield Blocks(chunk.first + start), [data[start * block : end * block]]
        start = end


def _kind(digests: bytes, old: bytes, number: int) -> str:
    at = slice(number * DIGEST_BYTES, (number + 1) * DIGEST_BYTES)
    if digests[at] == old[at]:
        return "same"
    return "holes" if digests[at] == ZEROS else "data"
