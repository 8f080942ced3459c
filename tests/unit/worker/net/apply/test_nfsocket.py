"""What the kernel answers to commands."""

import errno
import struct
from collections import deque

import pytest

from common.errors import Unavailable
from worker.net.apply import nft
from worker.net.apply.nft import NftSocket
from worker.net.plan.nf_messages import Table

COMMANDS = [Table("ip", "orc-services").add(), Table("ip", "orc-services").delete()]


def answer(place: int, error: int = 0) -> bytes:
    return struct.pack("=IHHIIiIHHII", 36, 2, 0, place, 7, -error, 20, 0xA00, 5, place, 7)


class Kernel:
    """A socket that has these answers, in turn, once it was sent something."""

    def __init__(self, *answers: bytes | OSError) -> None:
        self.sent: list[bytes] = []
        self._answers = deque(answers)

    def getsockname(self) -> tuple[int, int]:
        return (4711, 0)

    def setsockopt(self, *_: int) -> None: ...

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    def recv(self, _size: int, _flags: int) -> bytes:
        assert self.sent
        found = self._answers.popleft() if self._answers else BlockingIOError()
        if isinstance(found, OSError):
            raise found
        return found


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch):
    def make(*answers: bytes | OSError) -> Kernel:
        kernel = Kernel(*answers)
        monkeypatch.setattr(nft, "_connect", lambda: kernel)
        return kernel

    return make


async def test_what_was_taken_is_told_by_one_answer_and_known_as_ours(answering):
    kernel = answering(answer(1))
    sender = NftSocket()
    await sender.send(COMMANDS)
    assert len(kernel.sent) == 1
    assert sender.process == 4711


async def test_a_refusal_says_which_command_and_why(answering):
    answering(answer(0, errno.EPERM), answer(1, errno.ENOENT))
    with pytest.raises(Unavailable, match=r"command 1 of 2, of kind 0\): Operation not permitted"):
        await NftSocket().send(COMMANDS)


async def test_more_refusals_than_fit_are_one_too(answering):
    answering(OSError(errno.ENOBUFS, "no room"), answer(1, errno.ENOENT))
    with pytest.raises(Unavailable, match="No such file"):
        await NftSocket().send(COMMANDS)


async def test_no_answer_is_no_success(answering):
    answering()
    with pytest.raises(Unavailable, match="did not confirm"):
        await NftSocket().send(COMMANDS)
    answering(OSError(errno.EPERM, "Operation not permitted"))
    with pytest.raises(Unavailable, match="Operation not permitted"):
        await NftSocket().send(COMMANDS)
