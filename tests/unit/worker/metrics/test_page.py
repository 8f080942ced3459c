"""A node's page: containers under cAdvisor's names, read from files as kernels write them."""

import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.model import Task, TaskState, TaskStatus
from common.model.container import ContainerSpec
from common.model.service import TaskSpec
from common.model.task import ContainerStatus
from worker.interfaces.engine import ContainerUsage, EngineDown
from worker.metrics.page import ContainerNumbers, Running, parse_io, parse_quota, read, read_tasks, write_page

ID = "c0ffee" * 10
FILES = {
    "cpu.stat": "usage_usec 2500000\nuser_usec 1\nnr_periods 9\nnr_throttled 3\nthrottled_usec 500000\n",
    "memory.current": "1000\n",
    "memory.stat": "anon 600\nfile 300\ninactive_file 200\n",
    "cpu.max": "50000 100000\n",
    "pids.current": "4\n",
    "memory.max": "max\n",
    "memory.events": "low 0\noom 1\noom_kill 2\n",
    "io.stat": "8:0 rbytes=10 wbytes=20 rios=1\n8:16 rbytes=1 wbytes=2\n",
}
NET = "a\nb\n lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\neth0: 100 0 0 0 0 0 0 0 50 0 0 0 0 0 0 0\n"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    group = tmp_path / "cgroup" / f"docker-{ID}.scope"
    group.mkdir(parents=True)
    for name, text in FILES.items():
        (group / name).write_text(text)
    process = tmp_path / "proc" / "7"
    (process / "net").mkdir(parents=True)
    (process / "cgroup").write_text(f"0::/docker-{ID}.scope\n")
    (process / "net" / "dev").write_text(NET)
    (process / "stat").write_text("7 (a (b) c) S " + " ".join(["0"] * 18) + " 1500 0\n")
    (tmp_path / "proc" / "stat").write_text("cpu 1\nbtime 1000\n")
    return tmp_path


def test_a_containers_numbers_are_the_kernels(host: Path):
    assert read(7, ID, host / "proc", host / "cgroup") == ContainerNumbers(
        cpu=2.5,
        working_set=800,
        usage=1000,
        cache=300,
        throttled=0.5,
        periods=9,
        throttled_periods=3,
        quota=0.05,
        period=0.1,
        processes=4,
        rss=600,
        limit=None,
        oom_kills=2,
        started_at=1015.0,
        received=100,
        sent=50,
        read=11,
        written=22,
    )


def test_of_old_cgroups_what_its_process_tells_is_known(host: Path):
    process, root = host / "proc" / "7", host / "cgroup"
    (process / "cgroup").write_text(f"2:cpuacct:/docker/{ID}\n1:memory:/docker/{ID}\n")
    for name, text in (
        ("cpuacct/docker/{}/cpuacct.usage", "2500000000\n"),
        ("memory/docker/{}/memory.usage_in_bytes", "1000\n"),
        ("memory/docker/{}/memory.stat", "total_inactive_file 200\n"),
    ):
        file = root / name.format(ID)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert read(7, ID, host / "proc", root) == ContainerNumbers(
        cpu=2.5, working_set=800, started_at=1015.0, received=100, sent=50
    )


@pytest.mark.parametrize("text", ["", "max 100000\n", "nonsense"])
def test_without_a_limit_of_processor_time_there_is_no_quota(text: str):
    assert parse_quota(text) == (None, None)


def test_another_process_with_the_number_is_not_taken(host: Path):
    with pytest.raises(ValueError, match="no cgroup of its name"):
        read(7, "decade" * 10, host / "proc", host / "cgroup")


def test_devices_that_discard_only_count_nothing():
    assert parse_io("7:0 \n8:0 dbytes=5\n") == (0, 0)


def a_task() -> Task:
    spec = TaskSpec(container_spec=ContainerSpec(image="web:1"))
    return Task(
        id="t",
        service_name="web",
        slot=1,
        spec=spec,
        labels={"com.docker.stack.namespace": "shop", "secret": "no"},
    )


def test_a_page_has_cadvisors_names():
    text = write_page([Running(a_task(), ContainerNumbers(cpu=2.5, working_set=800))], "n1", 4096)
    families = {each.name: each for each in text_string_to_metric_families(text.decode())}
    (cpu,) = families["container_cpu_usage_seconds"].samples
    assert (cpu.name, cpu.value) == ("container_cpu_usage_seconds_total", 2.5)
    assert cpu.labels == {
        "name": "web.1.t",
        "image": "web:1",
        "container_label_com_docker_stack_namespace": "shop",
        "container_label_com_docker_swarm_service_name": "web",
        "container_label_com_docker_swarm_task_name": "web.1.t",
        "container_label_com_docker_swarm_node_id": "n1",
    }
    assert families["container_spec_memory_limit_bytes"].samples[0].value == 0
    assert families["container_oom_events"].samples == []
    assert [(each.labels, each.value) for each in families["swarm_worker_image_bytes"].samples] == [({}, 4096)]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian's prometheus)")
def test_promtool_has_nothing_to_say_about_a_nodes_page():
    text = write_page([Running(a_task(), ContainerNumbers(cpu=2.5, working_set=800))], "n1")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.stdout, checked.stderr) == (b"", b"")


async def test_the_engine_is_asked_where_the_kernel_does_not_tell():
    async def ask(container_id: str) -> ContainerUsage:
        assert container_id == ID
        return ContainerUsage(cpu=1.5, memory=7)

    status = TaskStatus(state=TaskState.RUNNING, container_status=ContainerStatus(container_id=ID, pid=2**30))
    assert await read_tasks([a_task()], {"t": status}, ask) == [Running(a_task(), ContainerNumbers(1.5, 7))]
    assert await read_tasks([a_task()], {}, ask) == []


async def test_a_task_that_has_ended_is_left_out():
    async def ask(_: str) -> ContainerUsage:
        raise EngineDown("it is away")

    status = TaskStatus(state=TaskState.RUNNING, container_status=ContainerStatus(container_id=ID, pid=2**30))
    assert await read_tasks([a_task()], {"t": status}, ask) == []
