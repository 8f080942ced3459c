from common.clock import SystemClock
from manager.domain.refusals import Refusal
from manager.metrics.soft_state import SoftState
from manager.store.backends.memory import MemoryBackend
from manager.store.store import Store

CLOCK = SystemClock()


def test_two_managers_have_nothing_in_common():
    one, other = (SoftState.new(Store(MemoryBackend(), CLOCK).view, CLOCK) for _ in range(2))
    one.refusals.add("n1", [Refusal("Hello.addr", "is another node's")], 1.0)
    one.contacts.begun("n1", lambda: 1.0)
    assert [each.field for each in one.refusals.of("n1")] == ["Hello.addr"]
    assert one.contacts.of({"n1"}, 2.0)
    assert not other.refusals.of("n1")
    assert not other.contacts.of({"n1"}, 2.0)


def test_delays_of_workers_are_told():
    delays: list[float] = []
    SoftState.new(Store(MemoryBackend(), CLOCK).view, CLOCK, delays.append).contacts.delay(0.5)
    assert delays == [0.5]
