"""The timeline keeps its last entries under numbers, and finds those that are asked for."""

import pytest

from manager.overview.timeline import KEPT, KEPT_OF_NODE, Entry, Kind, Named, Timeline, TimelineQuery, without_names

SERVICE = Named(kind="service", id="abcdef123", name="web")
NODE = Named(kind="node", id="node123456", name="w1")


def entry(kind: Kind = Kind.SERVICE_CHANGED, about: Named = SERVICE, by: str = "", at: float = 1.0) -> Entry:
    return Entry(at=at, kind=kind, text="it changed", object=about, by=by)


def ids(timeline: Timeline, **wanted: object) -> list[int]:
    return [each.id for each in timeline.newest_first(TimelineQuery(**wanted))]  # type: ignore[arg-type]


def test_entries_are_numbered_from_one_the_newest_first() -> None:
    timeline = Timeline(0.0)
    assert timeline.last == 0
    assert timeline.add(entry(at=1.23456)).at == 1.235
    timeline.add(entry())
    assert ids(timeline) == [2, 1]
    assert ids(timeline, before=2) == [1]


def test_the_oldest_go_and_numbers_are_not_given_again() -> None:
    timeline = Timeline(0.0)
    for _ in range(KEPT + 3):
        timeline.add(entry())
    assert timeline.last == KEPT + 3
    assert ids(timeline)[-1] == 4


@pytest.mark.parametrize(
    "kind", [Kind.TASK_FAILED, Kind.TASK_STOPPED, Kind.NODE_LEFT, Kind.NODE_STATE, Kind.NODE_CLOCK]
)
def test_a_node_does_not_push_out_what_others_did(kind: Kind) -> None:
    timeline = Timeline(0.0)
    timeline.add(entry(by="ann"))
    task = Named(kind="task", id="t")
    about = (
        {"object": task, "related": (SERVICE, NODE)}
        if kind in (Kind.TASK_FAILED, Kind.TASK_STOPPED)
        else {"object": NODE}
    )
    for _ in range(2 * KEPT):
        timeline.add(Entry(at=1.0, kind=kind, text="", **about))
    assert ids(timeline) == [*range(2 * KEPT + 1, 2 * KEPT + 1 - KEPT_OF_NODE, -1), 1]
    for _ in range(KEPT):
        timeline.add(entry())
    assert len(ids(timeline)) == KEPT
    assert not timeline._said, "nothing is kept of who has nothing more to say"


@pytest.mark.parametrize(
    ("reference", "found"), [("web", True), ("abcdef123", True), ("abcdef", True), ("abcde", False), ("w", False)]
)
def test_an_object_is_called_by_name_id_or_its_beginning(reference: str, *, found: bool) -> None:
    assert entry().concerns(reference) is found


def test_related_objects_are_concerned_too() -> None:
    about = Entry(at=1.0, kind=Kind.TASK_FAILED, text="", object=Named(kind="task", id="t"), related=(NODE, SERVICE))
    assert about.concerns("w1")
    assert about.concerns("web")
    assert not about.concerns("w2")


@pytest.mark.parametrize(
    ("topic", "found"),
    [("", [1, 2, 3, 4]), ("services", [1, 2]), ("tasks", [3]), ("nodes", [4]), ("objects", []), ("people", [1])],
)
def test_topics_take_the_kinds_that_begin_so(topic: str, found: list[int]) -> None:
    timeline = Timeline(0.0)
    for kind, by in (
        (Kind.SERVICE_SCALED, "ann"),
        (Kind.UPDATE_ENDED, ""),
        (Kind.TASK_WAITS, ""),
        (Kind.NODE_STATE, ""),
    ):
        timeline.add(entry(kind, by=by))
    assert sorted(ids(timeline, topic=topic)) == found


def test_what_came_since_is_told_in_order() -> None:
    timeline = Timeline(0.0)
    for _ in range(4):
        timeline.add(entry())
    assert [each.id for each in timeline.after(2)] == [3, 4]
    assert timeline.after(4) == ()


def test_an_entry_can_be_told_without_who_asked() -> None:
    assert without_names(entry(by="ann")) == entry()
    anonymous = entry()
    assert without_names(anonymous) is anonymous
