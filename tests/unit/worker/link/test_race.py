"""Dialling all managers until the leader welcomes, in virtual time."""

import asyncio

import pytest

from common.aio.first import STAGGER_SECONDS
from common.errors import PermissionDenied, SwarmError, Unavailable
from common.wire.channel import Channel, ChannelClosed
from common.wire.handshake import LedElsewhere
from common.wire.manager_messages import Elsewhere
from common.wire.memory import memory_channel_pair
from common.wire.messages import PROTOCOL_VERSION, Heartbeat, Welcome
from tests.fakes.virtual_loop import run_virtual
from worker.link.race import NoWelcome, Welcomed, first_welcome


class Managers:
    """What dialling each address leads to, and after how many seconds; `dialled` has when each was."""

    def __init__(self, **outcomes: tuple[float, SwarmError | tuple[int, int]]) -> None:
        self._outcomes = outcomes
        self.dialled: dict[str, float] = {}
        self.ends: dict[str, Channel] = {}

    async def dial(self, address: str) -> tuple[Channel, Welcome]:
        self.dialled[address] = asyncio.get_running_loop().time()
        seconds, outcome = self._outcomes[address]
        await asyncio.sleep(seconds)
        if isinstance(outcome, SwarmError):
            raise outcome
        near, far = memory_channel_pair()
        self.ends[address] = far
        welcome = Welcome(
            protocol=PROTOCOL_VERSION, session_id="s", node_id="n", heartbeat=1.0, managers=(), epoch=outcome
        )
        return near, welcome

    async def race(self, *addresses: str, least: tuple[int, int] = (0, 0)) -> Welcomed:
        return await first_welcome(addresses, self.dial, least)


def elsewhere(leader: str) -> LedElsewhere:
    return LedElsewhere(Elsewhere(leader=leader, managers=("a", "b", "c")))


def test_a_host_that_is_gone_keeps_nobody_waiting() -> None:
    async def scenario() -> None:
        managers = Managers(a=(60.0, Unavailable("gone")), b=(60.0, Unavailable("gone")), c=(0.01, (0, 3)))
        found = await managers.race("a", "b", "c")
        assert found.address == "c"
        assert asyncio.get_running_loop().time() == pytest.approx(2 * STAGGER_SECONDS + 0.01)

    run_virtual(scenario())


def test_the_leader_that_a_follower_names_is_dialled_at_once() -> None:
    async def scenario() -> None:
        managers = Managers(a=(0.01, elsewhere("c")), b=(5.0, elsewhere("c")), c=(0.01, (0, 3)))
        found = await managers.race("a", "b", "c")
        assert found.address == "c"
        assert managers.dialled == {"a": 0.0, "c": 0.01}

    run_virtual(scenario())


def test_a_leader_that_is_named_by_mistake_is_asked_once() -> None:
    async def scenario() -> None:
        managers = Managers(a=(0.01, elsewhere("b")), b=(0.01, elsewhere("a")))
        with pytest.raises(NoWelcome) as caught:
            await managers.race("a", "b")
        assert caught.value.between_leaders
        assert sorted(managers.dialled) == ["a", "b"]

    run_virtual(scenario())


def test_a_leadership_of_before_is_not_believed() -> None:
    async def scenario() -> None:
        managers = Managers(old=(0.01, (0, 9)), new=(0.3, (1, 1)))
        found = await managers.race("old", "new", least=(1, 0))
        assert found.address == "new"
        with pytest.raises(ChannelClosed):
            await managers.ends["old"].receive()

    run_virtual(scenario())


def test_of_two_that_welcome_one_is_kept_and_the_other_closed() -> None:
    async def scenario() -> None:
        managers = Managers(a=(STAGGER_SECONDS + 0.01, (0, 1)), b=(0.01, (0, 1)))
        found = await managers.race("a", "b")
        kept, closed = managers.ends.pop(found.address), next(iter(managers.ends.values()))
        with pytest.raises(ChannelClosed):
            await closed.receive()
        await found.channel.send(Heartbeat())
        assert isinstance((await kept.receive()).message, Heartbeat)

    run_virtual(scenario())


def test_only_what_the_leader_says_is_a_removal() -> None:
    async def scenario() -> None:
        managers = Managers(a=(0.01, elsewhere("b")), b=(0.01, PermissionDenied("removed")))
        with pytest.raises(NoWelcome) as caught:
            await managers.race("a")
        assert caught.value.removal is not None
        with pytest.raises(NoWelcome) as silent:
            await Managers(a=(0.01, elsewhere(""))).race("a")
        assert silent.value.removal is None

    run_virtual(scenario())
