"""What testcontainers' documentation shows, on a cluster: `python testcontainers_python.py NODE FOLDER`."""

import sys
import urllib.request

from testcontainers.core.container import DockerContainer
from testcontainers.core.image import DockerImage
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import HttpWaitStrategy, LogMessageWaitStrategy
from testcontainers.core.waiting_utils import wait_for_logs

# It looks for published ports at "localhost".
HERE = {"labels": {"swarm.x.constraint": f"node.hostname=={sys.argv[1]}"}}


def asked(container, port=80):
    where = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(port)}/"
    with urllib.request.urlopen(where, timeout=5) as answer:
        return answer.status


def published():
    waited = DockerContainer("web:lab").with_exposed_ports(80).with_kwargs(**HERE).waiting_for(HttpWaitStrategy(80))
    with waited as web:
        assert asked(web) == 200
        assert web.exec(["/web", "check"]).exit_code == 0
        assert web.get_wrapped_container().status in {"created", "running"}


def logs():
    talking = (
        DockerContainer("busybox:lab").with_command(["sh", "-c", "sleep 0.3; echo ready; sleep 100"]).with_env("A", "b")
    )
    with talking as box:
        wait_for_logs(box, "ready", timeout=20)
        assert b"ready" in box.get_logs()[0]
        assert box.exec(["sh", "-c", "echo $A"]).output == b"b\n"
    with (
        DockerContainer("busybox:lab")
        .with_command("sh -c 'echo up; sleep 100'")
        .waiting_for(LogMessageWaitStrategy("up"))
    ):
        pass


def networks():
    with Network() as network:
        web = DockerContainer("web:lab").with_network(network).with_network_aliases("web", "front")
        with web, DockerContainer("busybox:lab").with_network(network).with_command("sleep 100") as box:
            for name in ("web", "front"):
                assert box.exec(["wget", "-qO-", f"http://{name}/"]).exit_code == 0, name


def volumes():
    shared = ("vol", "/data", "rw")
    with DockerContainer("busybox:lab").with_command("sleep 100").with_volume_mapping(*shared) as box:
        assert box.exec(["sh", "-c", "echo kept > /data/there"]).exit_code == 0
    with DockerContainer("busybox:lab").with_command("sleep 100").with_volume_mapping(*shared) as box:
        assert box.exec(["cat", "/data/there"]).output == b"kept\n"


def images(folder):
    with (
        DockerImage(path=folder, tag="tested:1") as image,
        DockerContainer(str(image)).with_command("sleep 100") as box,
    ):
        assert box.exec(["cat", "/made"]).output == b"built\n"


for part in (published, logs, networks, volumes):
    part()
    print(part.__name__, "shown")
images(sys.argv[2])
print("images shown")
