"""A worker that keeps its pace is never slowed by a manager, however much it has to say and whatever delays it."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from common.model.node import NodeDescription
from common.model.task import TaskState, TaskStatus
from common.wire.codec import encode
from common.wire.image_messages import FetchImage, SpareImages
from common.wire.membership_messages import AwaitApplied
from common.wire.messages import AnyMessage, NodeReport, RenewRequest, Resync, StatusReport
from common.wire.usage_messages import TaskUsage, Usage
from manager.dispatch.quota import Quota
from tests.fakes.virtual_loop import run_virtual
from worker.link.conversation import PacedSender
from worker.link.reporter import Reporter

# What a connection that stalls may hold back and bring at once, in seconds.
STALL = 2.0


class Line:
    """A channel's sending end: when each message was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[float, AnyMessage]] = []

    async def send(self, message: AnyMessage, _: int = 0) -> None:
        self.sent.append((asyncio.get_running_loop().time(), message))

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"nothing but sending is asked of it: {name}")


def read(sent: list[tuple[float, AnyMessage]], delays: list[float]) -> None:
    """Read what was sent, each message some time after it was sent and none before an earlier one."""
    quota, now = Quota(0.0), 0.0
    for number, (at, message) in enumerate(sent):
        now = max(now, at + delays[number % len(delays)])
        assert quota.spend(message, len(encode(message, 2**40)), now) == 0.0
        assert not quota.slowed


messages = st.one_of(
    st.builds(lambda count: Usage(tasks=(TaskUsage(task_id="t" * 25, cpu=0.5),) * count), st.integers(0, 500)),
    st.builds(lambda size: NodeReport(description=NodeDescription(agent_version="1" * size)), st.integers(0, 60_000)),
    st.builds(lambda count: FetchImage(image_id="i", failed=("n" * 25,) * count), st.integers(0, 500)),
    st.sampled_from([Resync(), AwaitApplied(), RenewRequest(csr=b"c" * 1000), SpareImages(image_ids=("i",) * 50)]),
)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.floats(0, 5), messages), max_size=60),
    st.lists(st.floats(0, STALL), min_size=1, max_size=20),
)
def test_whatever_a_worker_says_is_read_at_once(said: list[tuple[float, AnyMessage]], delays: list[float]) -> None:
    async def story() -> None:
        sender, line = PacedSender(), Line()
        sending = []
        for wait, message in said:
            await asyncio.sleep(wait)
            sending.append(asyncio.create_task(sender.send(line, message)))  # type: ignore[arg-type]
        await asyncio.gather(*sending)
        assert len(line.sent) == len(said)
        read(line.sent, delays)

    run_virtual(story())


@settings(deadline=None, max_examples=5)
@given(st.integers(0, 10_000), st.integers(0, 1000), st.lists(st.floats(0, STALL), min_size=1, max_size=20))
def test_a_host_with_thousands_of_tasks_reports_them_all(tasks: int, text: int, delays: list[float]) -> None:
    async def story() -> None:
        sender, line, reporter = PacedSender(), Line(), Reporter()
        for number in range(tasks):
            status = TaskStatus(timestamp=1.5, state=TaskState.RUNNING, message="m" * text)
            reporter.update(f"task{number:021}", status)
        while reporter.unconfirmed:
            number, batch = await reporter.take()
            await sender.send(line, StatusReport(tasks=batch), number)  # type: ignore[arg-type]
            reporter.confirmed(number)
        read(line.sent, delays)
        assert sum(len(message.tasks) for _, message in line.sent if isinstance(message, StatusReport)) == tasks
        assert asyncio.get_running_loop().time() <= 1 + tasks * (1 + text / 100) / 200

    run_virtual(story())
