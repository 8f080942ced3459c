"""The cluster in one sentence, with totals and the worst of what is wrong."""

from common.model import Node
from common.model.node import NodeStatus
from manager.overview.summary import MOST_TROUBLE, ClusterState, summarize
from tests.unit.manager.overview.test_trouble import NOW, World, running, service


def test_all_is_counted_and_the_worst_told():
    world = World()
    world.put(
        *(service(f"s{number}", 1) for number in range(MOST_TROUBLE + 5)), service("well", 1), *running("well", 1)
    )
    found = summarize(world.counters, world.tables, (), NOW + 60)
    assert (found.trouble_total, len(found.trouble)) == (MOST_TROUBLE + 5, MOST_TROUBLE)


def test_the_sentence_says_how_it_is():
    world = World()
    world.put(Node(id="w", status=NodeStatus(state="ready")))
    world.put(service("web", 1), *running("web", 1))
    well = summarize(world.counters, world.tables, (), NOW)
    assert (well.level, well.sentence) == (
        ClusterState.WELL,
        "All is well · 1 of 1 service as wanted · 1 of 1 node ready",
    )
    world.put(service("web", 2))
    changing = summarize(world.counters, world.tables, (), NOW)
    assert (changing.level, changing.trouble_total) == (ClusterState.CHANGING, 0)
