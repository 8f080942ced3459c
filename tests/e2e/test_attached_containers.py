"""Plain containers in a network of the cluster, on two hosts, with the docker CLI."""

import json

import pytest

from tests.e2e.cluster import READY, Cluster
from tests.e2e.test_containers import IMAGE, Docker
from tests.lab.process import all_at_once

PING = ("ping", "-c", "1", "-W", "3")
SLEEP = ("sh", "-c", "trap exit TERM; while :; do sleep 1 & wait; done")


@pytest.mark.timeout(200)
async def test_plain_containers_join_networks_of_the_cluster() -> None:
    async with Cluster("attached", hosts=2, client=False) as cluster:
        docker = Docker(cluster)
        await docker("network", "create", "-d", "overlay", "--attachable", "wide")
        await docker("network", "create", "-d", "overlay", "closed")
        failed = await docker.fails("run", "--rm", "--network", "closed", IMAGE, "true", code=125)
        assert "network closed not manually attachable" in failed
        await docker("service", "create", "-d", "--name", "web", "--network", "wide", "web:lab")
        one, two = (host.name for host in cluster.hosts)
        on = "swarm.x.constraint=node.hostname=="
        await docker("run", "-d", "--name", "one", "--network", "wide", "--label", on + one, IMAGE, *SLEEP)
        alias = ("--network-alias", "second", "-p", "8081:80")
        await docker("run", "-d", "--name", "two", "--network", "wide", *alias, "--label", on + two, "web:lab")
        await docker("run", "-d", "--name", "late", "--label", on + one, IMAGE, *SLEEP)
        await cluster.running("web", 1)

        short = (await docker("inspect", "-f", "{{.Id}}", "two"))[:12]
        for name in ("two", "second", short):
            assert "1 packets received" in await docker("exec", "one", "ping", "-c", "1", "-W", "3", name)
        await known_at_once(docker, on + one, on + two)
        seen = json.loads(await docker("exec", "one", "wget", "-qO-", "http://two/"))
        members = json.loads(await docker("network", "inspect", "wide"))[0]["Containers"].values()
        addresses = {each["Name"].partition(".")[0]: each["IPv4Address"].partition("/")[0] for each in members}
        assert addresses.keys() == {"one", "two", "web"}
        assert seen["client"] == addresses["one"], "with its real address"
        assert json.loads(await docker("exec", "one", "wget", "-qO-", "http://web/"))["path"] == "/"
        answer = await cluster.manager_host.run("wget", "-qO-", f"http://{cluster.hosts[1].ip}:8081/")
        assert json.loads(answer.stdout)["path"] == "/", "published as ever"
        assert await docker("inspect", "-f", "{{json .NetworkSettings.Networks.wide.IPAddress}}", "two")

        await docker("network", "connect", "--alias", "joined", "wide", "late")
        assert "1 packets received" in await docker("exec", "late", "ping", "-c", "1", "-W", "3", "two")
        assert "1 packets received" in await docker("exec", "one", "ping", "-c", "1", "-W", "3", "joined")
        await docker("network", "disconnect", "wide", "late")
        await docker.fails("exec", "late", "ping", "-c", "1", "-W", "1", addresses["two"])
        assert "bad address" in (await docker.run("exec", "one", "ping", "-c", "1", "joined", check=False)).stderr

        await docker("network", "disconnect", "wide", "one")
        await docker("restart", "-t", "0", "one")
        await docker("network", "connect", "wide", "one")

        await restarted(cluster)
        assert "1 packets received" in await docker("exec", "two", "ping", "-c", "1", "-W", "3", "one")
        await over_tls(cluster)

        await docker("service", "rm", "web")
        assert "is in use by container one" in await docker.fails("network", "rm", "wide")
        await docker("rm", "-f", "one", "two")
        await docker("network", "rm", "wide")
        assert "wide" not in await docker("network", "ls", "--format", "{{.Name}}")


async def known_at_once(docker: Docker, here: str, there: str) -> None:
    """A container that has started is listed, and all hosts know its aliases and links: nothing is tried twice."""
    for number in range(5):
        name, alias = f"now{number}", f"alias{number}"
        await docker(
            "run", "-d", "--name", name, "--network", "wide", "--network-alias", alias, "--label", there, "web:lab"
        )
        members = json.loads(await docker("network", "inspect", "wide"))[0]["Containers"].values()
        assert name in {each["Name"] for each in members}
        shown = json.loads(await docker("inspect", name))[0]["NetworkSettings"]["Networks"]["wide"]
        assert (alias in shown["Aliases"], shown["DNSNames"][:2]) == (True, [name, alias])
        assert "1 packets received" in await docker("exec", "one", *PING, alias)
        linked = ("--network", "wide", "--link", f"{name}:linked", "--label", here)
        assert "1 packets received" in await docker("run", "--rm", *linked, IMAGE, *PING, "linked")
        failed = await docker.run("exec", "one", *PING, "linked", check=False)
        assert "bad address" in failed.stderr, "it is that container's name for it alone"
        await docker("rm", "-f", name)


async def restarted(cluster: Cluster) -> None:
    """Let manager and workers begin anew, the manager on TCP as well; containers run on."""
    await cluster.manager.stop()
    await all_at_once(worker.stop() for worker in cluster.workers.values())
    hosts = ("--host", cluster.api, "--host", "tcp://0.0.0.0:2376")
    cluster.manager = await cluster.manager_host.spawn("swarm-manager", "run", *hosts, name="manager", ready=READY)
    await all_at_once(cluster.start_worker(host) for host in cluster.hosts)


async def over_tls(cluster: Cluster) -> None:
    """The end of a client's input is heard over TCP as well, and the output still comes."""
    files = cluster.manager_host.folder / "otto"
    await cluster.swarm("client-cert", "otto", "--role", "operator", "--out", str(files))
    where = {
        "DOCKER_HOST": f"tcp://{cluster.manager_host.ip}:2376",
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_CERT_PATH": str(files),
    }
    command = ("docker", "run", "-i", "--rm", "--network", "wide", IMAGE, "wc", "-c")
    result = await cluster.manager_host.run(*command, input="x" * 300_000, env=where, timeout=20)
    assert result.stdout.strip() == "300000"
