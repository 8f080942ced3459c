"""Plain containers in a network of the cluster, on two hosts, with the docker CLI."""

import json

import pytest

from tests.e2e.cluster import Cluster
from tests.e2e.test_containers import IMAGE, Docker

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
        seen = json.loads(await docker("exec", "one", "wget", "-qO-", "http://two/"))
        members = json.loads(await docker("network", "inspect", "wide"))[0]["Containers"].values()
        addresses = {each["Name"].partition(".")[0]: each["IPv4Address"].partition("/")[0] for each in members}
        assert addresses.keys() == {"one", "two", "web"}
        assert seen["client"] == addresses["one"], "with its real address"
        assert json.loads(await docker("exec", "one", "wget", "-qO-", "http://web/"))["path"] == "/"
        answer = await cluster.boss.run("wget", "-qO-", f"http://{cluster.hosts[1].ip}:8081/")
        assert json.loads(answer.stdout)["path"] == "/", "published as ever"
        assert await docker("inspect", "-f", "{{json .NetworkSettings.Networks.wide.IPAddress}}", "two")

        await docker("network", "connect", "--alias", "joined", "wide", "late")
        assert "1 packets received" in await docker("exec", "late", "ping", "-c", "1", "-W", "3", "two")
        assert "1 packets received" in await docker("exec", "one", "ping", "-c", "1", "-W", "3", "joined")
        await docker("network", "disconnect", "wide", "late")
        await docker.fails("exec", "late", "ping", "-c", "1", "-W", "1", addresses["two"])
        assert "bad address" in (await docker.run("exec", "one", "ping", "-c", "1", "joined", check=False)).stderr

        await docker("service", "rm", "web")
        assert "is in use by container one" in await docker.fails("network", "rm", "wide")
        await docker("rm", "-f", "one", "two")
        await docker("network", "rm", "wide")
        assert "wide" not in await docker("network", "ls", "--format", "{{.Name}}")
