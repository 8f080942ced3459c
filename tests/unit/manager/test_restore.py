"""Which node the manager is after a restore, and what becomes of the workers."""

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from common.model import Node
from common.model.node import ANY_CERTIFICATE, ManagerStatus, NodeSpec, NodeStatus
from manager import init
from manager.config import DashboardConfig, ManagerConfig
from manager.init import configuration_after_restore
from manager.restore import decide_restored_node
from tests.unit.manager.test_backup import CONFIG

MOVED = msgspec.structs.replace(CONFIG, advertise_addr="192.0.2.2:2377")


def manager_node(*, agent: bool = False) -> Node:
    return Node(
        id="m1",
        agent=agent,
        spec=NodeSpec(role="manager"),
        certificate_serials=("1",) if agent else (),
        manager_status=ManagerStatus(leader=True, addr=CONFIG.advertise_addr),
        status=NodeStatus(state="ready", addr="192.0.2.1"),
    )


def worker_node(
    node_id: str, addr: str, state: str = "ready", serials: tuple[str, ...] = ("7",), at: float = 1
) -> Node:
    status = NodeStatus(state=state, addr=addr)
    return Node(id=node_id, agent=True, certificate_serials=serials, status=status, created_at=at)


def decided(nodes: list[Node], config: ManagerConfig) -> tuple[ManagerConfig, dict[str, Node], list[str]]:
    config, decision = decide_restored_node(nodes, CONFIG, config, "fresh")
    after = {node.id: node for node in (*nodes, *decision.put) if isinstance(node, Node)}
    return config, after, [node.id for node in decision.remove]


def test_workers_are_awaited_with_any_certificate_they_have():
    left = worker_node("left", "192.0.2.8", "down", serials=())
    down = worker_node("down", "192.0.2.9", "down")
    _, put, _ = decided([manager_node(agent=True), worker_node("w1", "192.0.2.7"), left, down], CONFIG)
    assert {name: node.status.state for name, node in put.items()} == {
        "m1": "unknown",
        "w1": "unknown",
        "left": "down",
        "down": "down",
    }
    assert {name: node.certificate_serials for name, node in put.items()} == {
        "m1": (ANY_CERTIFICATE,),
        "w1": (ANY_CERTIFICATE,),
        "left": (),
        "down": (ANY_CERTIFICATE,),
    }


@pytest.mark.parametrize(("agent", "removed"), [(False, ["m1"]), (True, [])])
def test_on_another_host_the_manager_is_another_node(agent: bool, removed: list[str]):
    config, put, gone = decided([manager_node(agent=agent), worker_node("w1", "192.0.2.7")], MOVED)
    assert (config.node_id, gone) == ("fresh", removed)
    assert put["fresh"].manager_status == ManagerStatus(leader=True, addr="192.0.2.2:2377")
    assert put["fresh"].status.state == "ready"
    if agent:
        assert (put["m1"].spec.role, put["m1"].manager_status, put["m1"].agent) == ("worker", None, True)


def test_on_a_workers_host_the_manager_is_that_workers_node():
    before = worker_node("before", "192.0.2.2", "down", at=0)
    config, put, gone = decided([manager_node(), before, worker_node("w1", "192.0.2.2")], MOVED)
    assert (config.node_id, gone) == ("w1", ["m1"])
    assert (put["w1"].spec.role, put["w1"].status.state) == ("manager", "unknown")
    assert put["w1"].manager_status == ManagerStatus(leader=True, addr="192.0.2.2:2377")
    assert put["before"].spec.role == "worker"


@pytest.mark.parametrize(
    ("own", "advertise", "listen", "expected"),
    [
        (["192.0.2.1", "10.1.1.1"], None, None, ("192.0.2.1:2377", ":2377")),
        (["192.0.2.2"], None, None, ("192.0.2.2:2377", ":2377")),
        (["192.0.2.2"], "192.0.2.3", None, ("192.0.2.3:2377", ":2377")),
        (["192.0.2.1"], "192.0.2.1:2399", None, ("192.0.2.1:2399", ":2399")),
        (["192.0.2.2"], "192.0.2.2", "0.0.0.0:2400", ("192.0.2.2:2400", "0.0.0.0:2400")),
        (["192.0.2.2"], "192.0.2.2:2377", "0.0.0.0:2400", ("192.0.2.2:2377", "0.0.0.0:2400")),
        (["192.0.2.1"], None, "192.0.2.1", ("192.0.2.1:2377", "192.0.2.1:2377")),
    ],
)
def test_what_is_not_given_is_as_before(
    monkeypatch: pytest.MonkeyPatch,
    own: list[str],
    advertise: str | None,
    listen: str | None,
    expected: tuple[str, str],
):
    monkeypatch.setattr(init.host_addresses, "addresses", lambda: dict.fromkeys(own, "eth0"))
    config = configuration_after_restore(CONFIG, advertise, listen, (), ())
    assert (config.advertise_addr, config.listen_addr) == expected
    assert (config.hosts, config.tls_names) == (CONFIG.hosts, CONFIG.tls_names)


@pytest.mark.parametrize(
    ("own", "hosts", "there", "expected"),
    [
        (["192.0.2.1"], (), True, (("tcp://192.0.2.1:8443", "tcp://0.0.0.0:8444"), True)),
        (["192.0.2.1"], (), False, (("tcp://192.0.2.1:8443", "tcp://0.0.0.0:8444"), False)),
        (["192.0.2.2"], (), True, (("tcp://0.0.0.0:8444",), True)),
        (["192.0.2.1"], ("unix:///tmp/try.sock",), True, None),
    ],
)
def test_the_shared_dashboard_stays_where_it_can(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    own: list[str],
    hosts: tuple[str, ...],
    there: bool,
    expected: tuple[tuple[str, ...], bool] | None,
):
    monkeypatch.setattr(init.host_addresses, "addresses", lambda: dict.fromkeys(own, "eth0"))
    files = [tmp_path / name for name in ("cert.pem", "key.pem")]
    for file in files if there else ():
        file.write_text("PEM")
    dashboard = DashboardConfig(
        hosts=("tcp://192.0.2.1:8443", "tcp://0.0.0.0:8444"),
        origins=("https://dash.example.org",),
        certificate=str(files[0]),
        key=str(files[1]),
    )
    before = replace(CONFIG, dashboard=dashboard)
    found = configuration_after_restore(before, own[0], None, hosts, ()).dashboard
    kept = None if found is None else (found.hosts, bool(found.certificate and found.key))
    assert kept == expected
    assert found is None or found.origins == dashboard.origins


def test_a_dashboard_without_an_address_here_is_none(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(init.host_addresses, "addresses", lambda: {"192.0.2.2": "eth0"})
    before = replace(CONFIG, dashboard=DashboardConfig(hosts=("tcp://192.0.2.1:8443",)))
    assert configuration_after_restore(before, None, None, (), ()).dashboard is None
