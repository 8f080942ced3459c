"""The node's certificate in use and its renewal; dialling itself is tested over TLS in tests/e2e."""

import asyncio
import random

import pytest

from common.clock import LoopClock
from common.errors import Unauthenticated
from common.tls import ROLE_WORKER, CredentialFiles, Identity, certificate_request, new_key
from common.wire.messages import RenewReply
from manager.ca.authority import Authority, create_root, new_serial
from tests.fakes.virtual_loop import run_virtual
from worker.link.dialler import Credentials

DAY = 86400.0
LIFETIME = 90 * 86400 * 10**9


@pytest.fixture(autouse=True)
def seldom_looks(monkeypatch):
    """Look at the clock by the hour: months pass here, and nobody sets it."""
    monkeypatch.setattr("common.clock.CLOCK_CHECK_SECONDS", 3600.0)


class World:
    def __init__(self, folder) -> None:
        self.clock = LoopClock()
        self.authority = Authority(create_root("cluster1", self.clock.now()))
        self.files = CredentialFiles(folder)
        key = new_key()
        self.files.write(self.issue(certificate_request(key)), key, self.authority.root_certificate)
        self.credentials = Credentials(self.files, self.clock, random.Random(3))

    def issue(self, csr):
        identity = Identity("node1", ROLE_WORKER, "cluster1", new_serial())
        return self.authority.issue(csr, identity, LIFETIME, self.clock.now())

    def days(self):
        return asyncio.get_running_loop().time() / DAY


def test_it_is_renewed_between_half_and_four_fifths_of_its_life(tmp_path):
    async def story():
        w = World(tmp_path)
        first = w.credentials.context()
        assert w.credentials.context() is first
        request = await w.credentials.due()
        assert 45 <= w.days() <= 72.1
        before = w.files.node.read_bytes()
        reply = RenewReply(certificate=w.issue(request.csr), root_certificate=w.authority.root_certificate)
        w.credentials.renewed(reply)
        assert w.files.node.read_bytes() != before
        assert w.credentials.context() is not first
        assert w.credentials.valid_until > w.clock.now() + 89 * DAY
        begun = w.days()
        await w.credentials.due()
        assert 44 <= w.days() - begun <= 72.1

    run_virtual(story())


def test_a_manager_that_does_not_answer_is_asked_again(tmp_path):
    async def story():
        w = World(tmp_path)
        await w.credentials.due()
        begun = w.days()
        await w.credentials.due()
        assert 0 < w.days() - begun < 0.05

    run_virtual(story())


def test_one_that_cannot_be_stored_is_asked_for_again(tmp_path):
    async def story():
        w = World(tmp_path)
        before, until = w.files.node.read_bytes(), w.credentials.valid_until
        request = await w.credentials.due()
        w.files.node.unlink()
        w.files.node.mkdir()
        reply = RenewReply(certificate=w.issue(request.csr), root_certificate=w.authority.root_certificate)
        w.credentials.renewed(reply)
        assert w.credentials.valid_until == until
        w.files.node.rmdir()
        request = await w.credentials.due()
        reply = RenewReply(certificate=w.issue(request.csr), root_certificate=w.authority.root_certificate)
        w.credentials.renewed(reply)
        assert w.credentials.valid_until > until
        assert w.files.node.read_bytes() != before

    run_virtual(story())


def test_a_certificate_that_nobody_asked_for_is_not_taken(tmp_path):
    async def story():
        w = World(tmp_path)
        before = w.files.node.read_bytes()
        w.credentials.renewed(RenewReply(certificate=b"x", root_certificate=b"y"))
        assert w.files.node.read_bytes() == before

    run_virtual(story())


def test_one_that_has_ended_says_what_to_do(tmp_path):
    async def story():
        w = World(tmp_path)
        await asyncio.sleep(91 * DAY)
        with pytest.raises(Unauthenticated, match=r"certificate expired at .*Z: leave with 'swarm-worker leave'"):
            w.credentials.context()

    run_virtual(story())
