"""One state: its tables and indexes, whatever layers it is made of."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import Unavailable
from common.model import Cluster, Service, Task
from common.model.service import Endpoint, EndpointSpec, PortConfig, ServiceSpec
from manager.store.tables import Tables
from manager.store.transaction import Transaction


def test_there_is_one_cluster_or_none_yet() -> None:
    tx = Transaction(Tables(), 1.0)
    with pytest.raises(Unavailable, match="swarm-manager init"):
        _ = tx.cluster
    tx.put(Cluster(id="c"))
    assert tx.cluster.id == "c"


STEP = st.tuples(st.sampled_from("abc"), st.sampled_from(["s1", "s2"]), st.sampled_from(["", "n1"]), st.booleans())


@given(st.lists(st.lists(STEP, max_size=8), max_size=3))
def test_indexes_find_what_a_search_finds(layers: list[list[tuple[str, str, str, bool]]]) -> None:
    tables = Tables()
    for steps in layers:
        tx = Transaction(tables, 1.0)
        for name, service_id, node_id, removed in steps:
            task = Task(id=f"{name}-{service_id}-{node_id}", service_id=service_id, node_id=node_id, slot=1)
            if removed and task.id in tx.tasks:
                tx.remove(task)
            elif not removed:
                tx.put(task)
            for state in (tx, tables):
                assert_found(state)
        tx.merge()


def assert_found(state: Tables) -> None:
    for each in ("s1", "s2"):
        assert {t.id for t in state.tasks.of_service(each)} == {t.id for t in state.tasks if t.service_id == each}
    for each in ("", "n1"):
        assert {t.id for t in state.tasks.on_node(each)} == {t.id for t in state.tasks if t.node_id == each}


PUBLISHING = st.tuples(
    st.sampled_from("abc"), st.lists(st.sampled_from([0, 80, 81]), max_size=3), st.sampled_from("abc"), st.booleans()
)


def service(name: str, numbers: list[int], after: str) -> Service:
    ports = tuple(PortConfig(target_port=80, published_port=number) for number in numbers)
    labels = {"swarm.x.depends-on": f"{after}=healthy, z"}
    spec = ServiceSpec(name=name, labels=labels, endpoint_spec=EndpointSpec(ports=ports[:1]))
    return Service(id=name, spec=spec, endpoint=Endpoint(ports=ports))


@given(st.lists(st.lists(PUBLISHING, max_size=8), max_size=3))
def test_an_object_is_found_by_each_of_several_keys(layers: list[list[tuple[str, list[int], str, bool]]]) -> None:
    tables = Tables()
    for steps in layers:
        tx = Transaction(tables, 1.0)
        for name, numbers, after, removed in steps:
            if removed and (present := tx.services.get(name)) is not None:
                tx.remove(present)
            elif not removed:
                tx.put(service(name, numbers, after))
            for state in (tx, tables):
                assert_services_found(state)
        tx.merge()


def assert_services_found(state: Tables) -> None:
    for number in (0, 80, 81):
        holders = {s.id for s in state.services if number in {port.published_port for port in s.published_ports}}
        assert {s.id for s in state.services.publishing("tcp", number)} == holders
    for name in "abc":
        after = {s.id for s in state.services if s.spec.labels["swarm.x.depends-on"].startswith(name)}
        assert {s.id for s in state.services.depending_on(name)} == after
    assert len(state.services.depending_on("z")) == len(state.services)
