"""A node's page: containers under cAdvisor's names."""

import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.model import Task, TaskState, TaskStatus
from common.model.container import ContainerSpec
from common.model.service import TaskSpec
from common.model.task import ContainerStatus
from worker.interfaces.engine import ContainerUsage, EngineDown
from worker.metrics.kernel_files import ContainerNumbers
from worker.metrics.page import Running, read_tasks, write_page

ID = "c0ffee" * 10


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
