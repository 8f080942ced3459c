from common.clock import rfc3339
from common.model import TaskState
from common.model.container import ContainerSpec, Mount
from common.model.service import (
    Global,
    Replicated,
    ReplicatedJob,
    ServiceMode,
    ServiceSpec,
    TaskSpec,
    UpdateConfig,
)
from manager.cli import codec
from manager.cli.codec import to_json


def test_what_go_would_take_as_zero_is_written():
    assert to_json(UpdateConfig())["Parallelism"] == 1
    assert to_json(UpdateConfig(parallelism=0))["Parallelism"] == 0
    assert to_json(ServiceMode(replicated=Replicated(replicas=0))) == {"Replicated": {"Replicas": 0}}
    assert to_json(ServiceMode(global_=Global())) == {"Global": {}}
    assert to_json(ContainerSpec(init=False)) == {"Init": False}


def test_what_is_zero_for_both_is_left_out():
    assert to_json(ContainerSpec(image="x")) == {"Image": "x"}
    assert to_json(Mount(target="/x")) == {"Type": "volume", "Target": "/x"}


def test_a_specification_comes_back_as_it_went():
    spec = ServiceSpec(
        name="web",
        labels={"Timestamp": "mine"},
        task_template=TaskSpec(container_spec=ContainerSpec(image="x", args=("a",), init=False)),
        mode=ServiceMode(replicated_job=ReplicatedJob(max_concurrent=2, total_completions=0)),
        update_config=UpdateConfig(parallelism=0),
    )
    assert codec.service({"ID": "i", "Spec": to_json(spec)}).spec == spec


def test_tasks_are_read_with_states_times_and_ports():
    task = codec.task(
        {
            "ID": "t",
            "CreatedAt": rfc3339(1_000.5),
            "Labels": None,
            "Status": {
                "Timestamp": rfc3339(2_000),
                "State": "running",
                "PortStatus": {"Ports": [{"TargetPort": 80, "PublishedPort": 8080}]},
            },
            "DesiredState": "shutdown",
            "NetworksAttachments": [{"Addresses": ["10.0.0.1/24"]}],
        }
    )
    assert (task.created_at, task.status.timestamp) == (1_000.5, 2_000)
    assert (task.status.state, task.desired_state) == (TaskState.RUNNING, TaskState.SHUTDOWN)
    assert task.status.ports[0].published_port == 8080
