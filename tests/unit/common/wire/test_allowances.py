"""What a worker may say: how large, and as how many messages it counts."""

import msgspec

from common.model.task import TaskStatus
from common.wire.allowances import ALLOWANCES, ENTRIES_BYTES, MESSAGES, SIZES, fitting, size_of, weight
from common.wire.image_messages import SpareImages
from common.wire.messages import Heartbeat, StatusReport, TaskReport


def test_a_list_counts_by_its_entries():
    reports = tuple(TaskReport(task_id=f"t{number}", status=TaskStatus()) for number in range(3))
    assert weight(Heartbeat()) == 1
    assert weight(StatusReport(tasks=reports)) == 1 + 3
    assert weight(SpareImages(image_ids=("a", "b"))) == 500 + 2 * 0.2


def test_no_single_message_is_more_than_a_burst():
    assert all(allowed.messages <= MESSAGES.burst for allowed in ALLOWANCES.values())


def test_each_kind_has_its_own_size():
    assert len(SIZES) == len(ALLOWANCES)
    assert SIZES[Heartbeat.KIND] < SIZES[StatusReport.KIND]


def test_of_entries_the_first_ones_fit():
    entries = ["x" * 100] * 1000
    taken = fitting(entries)
    assert 0 < len(taken) < len(entries)
    assert sum(map(size_of, taken)) <= ENTRIES_BYTES < sum(map(size_of, entries[: len(taken) + 1]))
    assert fitting(entries, 3 * size_of(entries[0])) == tuple(entries[:3])
    assert size_of(entries[0]) == len(msgspec.msgpack.encode(entries[0]))


def test_one_that_is_too_large_ends_the_list():
    assert fitting(["a", "x" * 100, "b"], 50) == ("a",)
