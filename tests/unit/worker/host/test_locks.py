"""Two workers on one host: each has an engine of its own, and one of them has the host's network."""

from types import SimpleNamespace

import pytest

from common.clock import SystemClock
from common.errors import FailedPrecondition
from worker.config import DataDir, WorkerConfig
from worker.host import locks
from worker.host.join import JoinOptions, become_member
from worker.net.dataplane import choose_networks
from worker.net.local_networks import LocalNetworks

TOKEN = f"SWMTKN-1-{'a' * 50}-{'b' * 25}"


def test_what_one_has_no_other_gets_until_it_is_given_back():
    with locks.hold("this test") as first, locks.hold("this test") as second, locks.hold("another") as other:
        assert (first, second, other) == (True, False, True)
    with locks.hold("this test") as again:
        assert again


def test_an_engine_is_known_by_all_ways_to_its_socket(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "var").symlink_to("run")
    one, other = (locks.engine_at(f"unix://{tmp_path}/{way}/docker.sock") for way in ("run", "var"))
    assert one == other != locks.engine_at("tcp://192.0.2.1:2375")


async def test_a_second_worker_for_an_engine_is_refused_before_writes(tmp_path):
    host, data = f"unix://{tmp_path}/docker.sock", DataDir(tmp_path / "second")
    refused = pytest.raises(FailedPrecondition, match=r"another worker of this host runs the engine at .*--docker-host")
    with locks.hold(locks.engine_at(host)), refused:
        await become_member(data, JoinOptions(manager="192.0.2.1", token=TOKEN, docker_host=host))
    assert not data.path.exists()


async def test_a_second_worker_leaves_the_network_to_the_first(tmp_path):
    config = WorkerConfig(node_id="n2", cluster_id="c1", managers=())
    engine = SimpleNamespace()
    networks = await choose_networks(DataDir(tmp_path), config, engine, SystemClock(), alone=False)
    assert isinstance(networks, LocalNetworks)
    assert "another worker of this host programs its network" in " ".join(networks.lacks())
