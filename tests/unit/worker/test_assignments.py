from common.model.network import Network
from common.wire.messages import Assignments, Peer, ServiceEndpoint
from tests.unit.worker.worlds import make_task
from worker.assignments import AssignmentSet


def complete(number=1, **more):
    return Assignments(complete=True, results_in=number, **more)


def test_a_complete_set_replaces_all():
    first = AssignmentSet().apply(complete(1, tasks=(make_task("a"),), node_number=3, address_pools=("10.0.0.0/8",)))
    second = first.apply(complete(9, tasks=(make_task("b"),)))
    assert (list(second.tasks), second.number, second.node_number) == (["b"], 9, 0)


def test_an_incremental_set_changes_only_what_it_names():
    first = AssignmentSet().apply(
        complete(
            tasks=(make_task("a"), make_task("b")),
            networks=(Network(id="n"),),
            endpoints=(ServiceEndpoint(service_id="s", name="web"),),
            peers=(Peer(node_id="p", number=1, addr="x"),),
            node_number=3,
        )
    )
    changed = Assignments(
        complete=False,
        applies_to=1,
        results_in=2,
        tasks=(make_task("c"),),
        removed_tasks=("a", "unknown"),
        removed_peers=("p",),
    )
    second = first.apply(changed)
    assert sorted(second.tasks) == ["b", "c"]
    assert second.peers == {}
    assert second.networks is first.networks
    assert second.endpoints is first.endpoints
    assert second.node_number == 3


def test_a_nodes_name_holds_until_another_or_a_complete_set():
    first = AssignmentSet().apply(complete(1, hostname="web-3"))
    second = first.apply(Assignments(complete=False, applies_to=1, results_in=2))
    third = second.apply(Assignments(complete=False, applies_to=2, results_in=3, hostname="web-4"))
    assert [each.hostname for each in (first, second, third)] == ["web-3", "web-3", "web-4"]
    assert third.apply(complete(4)).hostname == ""


def test_one_for_another_set_is_refused():
    first = AssignmentSet().apply(complete(4))
    assert first.apply(Assignments(complete=False, applies_to=3, results_in=5)) is None
    assert first.apply(Assignments(complete=False, applies_to=4, results_in=5)).number == 5
