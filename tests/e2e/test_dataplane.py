"""The data plane on three real engines and a client outside: who reaches whom, who sees what, and what breaks nothing.

One cluster serves all tests of this file; each leaves it as it found it: three nodes, ready, without services.
"""

import asyncio
import json
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.e2e.ci import long
from tests.e2e.cluster import RUNNING, TOO_LARGE, Cluster, ask_from, udp
from tests.e2e.reuse import churn
from tests.lab import Host
from tests.lab.load import Load
from tests.lab.process import Process
from worker.net.apply.docker_user import RULES

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120), pytest.mark.alone]

PORT = 8080
CURL_REFUSED = 7
REPAIR_SECONDS = 2.0
# Without a reset a client that waits hears nothing at all, and one that sends is left for minutes.
LOST_SECONDS = 20.0
SILENT = Path(__file__).with_name("silent_clients.py")
FORGER = Path(__file__).with_name("tunnel_forger.py")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def swarm() -> AsyncIterator[Cluster]:
    async with Cluster("dataplane") as cluster:
        await cluster.create_networks()
        yield cluster


@asynccontextmanager
async def service(swarm: Cluster, name: str, count: int, *options: str) -> AsyncIterator[list[dict[str, Any]]]:
    """Run a service of web:lab while the block runs; its tasks as they are when all run and the rules know them."""
    await swarm.swarm("service", "create", "-q", "--detach", "--no-resolve-image", "--name", name, *options, "web:lab")
    try:
        tasks = await swarm.running(name, count)
        await known_everywhere(swarm, name, count)
        yield tasks
    except AssertionError as error:
        for host, worker in swarm.workers.items():
            error.add_note(f"{host}:\n{worker.tail()}")
        raise
    finally:
        await remove(swarm, name)


async def remove(swarm: Cluster, name: str) -> None:
    """Remove a service and wait until all of it is gone from the hosts."""
    found = (await swarm.get(f"/services/{name}"))["ID"]
    await swarm.swarm("service", "rm", name)

    async def gone() -> bool:
        return all(task["ServiceID"] != found for task in await swarm.get("/tasks"))

    await swarm.until(gone, 20)


async def known_everywhere(swarm: Cluster, name: str, count: int) -> None:
    """Wait until the rules of every host with a chain of the service balance over so many backends."""
    found = await swarm.get(f"/services/{name}")
    ports = found["Endpoint"].get("Ports") or ()
    mine = (found["ID"], *(f"m_{port['Protocol']}_{port['PublishedPort']}" for port in ports))
    addresses = Counter[str]()

    async def look() -> bool:
        addresses.clear()
        for host in swarm.hosts:
            for chain, rules in (await chains(host)).items():
                if any(mark in chain for mark in mine):
                    addresses[f"{host.name} {chain}"] = len(rules)
        return bool(addresses) and all(number >= count for number in addresses.values())

    await swarm.until(look, 10, lambda: str(addresses))


async def chains(host: Host) -> dict[str, set[str]]:
    """Return each service chain's backends, as the kernel has them."""
    listing = await host.run("nft", "-j", "list", "table", "ip", "orc-services", check=False)
    found: dict[str, set[str]] = {}
    for entry in json.loads(listing.stdout)["nftables"] if not listing.returncode else ():
        rule = entry.get("rule")
        if rule is not None and rule["chain"].startswith(("v_", "m_")):
            found[rule["chain"]] = set(_addresses(rule["expr"]))
    return found


def _addresses(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value.count(".") == 3 else []
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [address for each in values for address in _addresses(each)]


def address_in(box: dict[str, Any], network: str) -> str:
    """Return a container's address in a network of the cluster, or in the hosts' gateway network."""
    networks = box["NetworkSettings"]["Networks"]
    (found,) = [end["IPAddress"] for name, end in networks.items() if network in name]
    return found


async def ask(host: Host, url: str, *options: str) -> dict[str, Any]:
    return json.loads((await host.run("curl", "-sS", "--max-time", "3", *options, url)).stdout)


async def test_services_that_come_and_go_never_answer_for_each_other(swarm: Cluster):
    """Few rounds, in which ports, virtual addresses and backends change; `tests/bench/run reuse` makes a thousand."""
    async with service(swarm, "asker", 3, "--mode", "global", "--network", "blue"):
        found = await churn(swarm, "blue", rounds=16, at_once=8, linger=2)
    assert found.rounds == 16
    assert not found.wrong
    assert found.counts["right"] >= 16 * (len(swarm.hosts) + 1)


async def test_containers_reach_each_other_by_own_and_virtual_address(swarm: Cluster):
    async with service(swarm, "web", 3, "--mode", "global", "--network", "blue"):
        boxes = [await swarm.container_of(host, "web") for host in swarm.hosts]
        for (host, box), other in product(zip(swarm.hosts, boxes, strict=True), boxes):
            answer = await ask_from(host, box, f"http://{address_in(other, 'blue')}/")
            assert answer is not None, f"from {host.name} to {other['Name']}"
            assert answer["host"] == other["Config"]["Hostname"]
            if other is not box:
                assert answer["client"] == address_in(box, "blue")
        virtual = await swarm.vip("web")
        for host, box in zip(swarm.hosts, boxes, strict=True):
            # Itself among the backends: the container's own answer comes back through the bridge.
            answers = [await ask_from(host, box, f"http://{virtual}/") for _ in range(12)]
            assert None not in answers
            assert len({answer["host"] for answer in answers if answer}) > 1


async def test_networks_are_isolated_on_every_path(swarm: Cluster):
    async with (
        service(swarm, "web", 3, "--mode", "global", "--network", "blue"),
        service(swarm, "spy", 3, "--mode", "global", "--network", "red"),
    ):
        targets = [await swarm.vip("web")]
        for host in swarm.hosts:
            box = await swarm.container_of(host, "web")
            targets += [address_in(box, "blue"), address_in(box, "00-orc-gw")]
        spies = [(host, await swarm.container_of(host, "spy")) for host in swarm.hosts]
        asked = [ask_from(host, spy, f"http://{target}/", 1) for (host, spy), target in product(spies, targets)]
        assert await asyncio.gather(*asked) == [None] * len(spies) * len(targets)
        for host in swarm.hosts:
            own = await swarm.container_of(host, "web")
            assert await ask_from(host, own, f"http://{targets[0]}/") is not None
        await check_the_tunnels_senders(swarm)


async def check_the_tunnels_senders(swarm: Cluster) -> None:
    """In another node's name a container would reach networks that it is not in, on its own host and on others."""
    target, other, third = swarm.hosts
    web, peer = [await swarm.container_of(host, "web") for host in (target, other)]
    macs = [await tunnel_mac(host) for host in (other, target)]
    frame = (other.ip, target.ip, *macs, address_in(peer, "blue"), address_in(web, "blue"), "7777")
    heard = await target.spawn(*inside(web), sys.executable, str(FORGER), "hear", "7777", name="heard")
    await heard.logged("listening")
    for host in (target, third):
        spy = await swarm.container_of(host, "spy")
        await host.run(*inside(spy), sys.executable, FORGER, "send", *frame, f"forged on {host.name}")
    await other.run(sys.executable, FORGER, "send", *frame, "by the peer itself")
    await heard.logged("by the peer itself")
    await heard.stop()
    assert "forged" not in heard.output()


def inside(box: dict[str, Any]) -> tuple[str, ...]:
    """Return the command that enters a container's network, to be followed by a program."""
    return ("nsenter", f"--net=/proc/{box['State']['Pid']}/ns/net")


async def tunnel_mac(host: Host) -> str:
    return json.loads((await host.run("ip", "-j", "link", "show", "orc-vx")).stdout)[0]["address"]


async def test_an_internal_network_has_no_way_out(swarm: Cluster):
    async with service(swarm, "web", 3, "--mode", "global", "--network", "shut"):
        boxes = [await swarm.container_of(host, "web") for host in swarm.hosts]
        assert all(list(box["NetworkSettings"]["Networks"]) != ["00-orc-gw"] for box in boxes)
        first, last = boxes[0], boxes[-1]
        assert len(first["NetworkSettings"]["Networks"]) == 1
        assert await ask_from(swarm.hosts[0], first, f"http://{address_in(last, 'shut')}/") is not None
        out = await swarm.hosts[0].run(
            "docker", "exec", first["Id"], "ping", "-c1", "-W1", swarm.lab.client.ip, check=False
        )
        assert out.returncode != 0


async def test_the_engines_own_networks_are_theirs(swarm: Cluster):
    kinds = ("host", "none", "bridge")
    create = ("service", "create", "-q", "--detach", "--no-resolve-image", "-e", "WEB_PORT=8084")
    for name in kinds:
        await swarm.swarm(*create, "--name", f"on-{name}", "--network", name, "web:lab")
    try:
        for name in kinds:
            (task,) = await swarm.running(f"on-{name}", 1)
            (host,) = [each for each in swarm.hosts if (await swarm.nodes())[each.name]["ID"] == task["NodeID"]]
            box = await swarm.container_of(host, f"on-{name}")
            assert (box["HostConfig"]["NetworkMode"], list(box["NetworkSettings"]["Networks"])) == (name, [name])
            if name == "host":
                assert (await ask(swarm.lab.client, f"http://{host.ip}:8084/"))["client"] == swarm.lab.client.ip
    finally:
        for name in kinds:
            await remove(swarm, f"on-{name}")


async def test_a_container_on_dockers_bridge_reaches_every_hosts_ports(swarm: Cluster):
    host = swarm.hosts[-1]
    async with service(swarm, "web", 1, "-p", f"{PORT}:80", "--constraint", f"node.hostname=={host.name}"):
        try:
            (box,) = json.loads(
                await host.docker("inspect", await host.docker("run", "-d", "--name", "plain", "web:lab"))
            )
            for asked in swarm.hosts:
                assert await ask_from(host, box, f"http://{asked.ip}:{PORT}/"), asked.name
        finally:
            await host.docker("rm", "-f", "plain")


async def test_every_host_answers_and_containers_see_the_client(swarm: Cluster):
    """Local and remote backends through each host; requests are spread evenly."""
    async with service(swarm, "web", 5, "--replicas", "5", "-p", f"{PORT}:80"):
        client = swarm.lab.client
        for host in swarm.hosts:
            url = f"http://{host.ip}:{PORT}/?[1-340]"
            answers = (await client.run("curl", "-sS", "--max-time", "20", "-H", "Connection: close", url)).stdout
            found = [json.loads(line) for line in answers.replace("}{", "}\n{").splitlines() if line]
            assert len(found) == 340
            assert {answer["client"] for answer in found} == {client.ip}
            assert len({answer["host"] for answer in found}) == 5
        async with Load(client, f"http://{swarm.manager_host.ip}:{PORT}/", rate=400) as load:
            await asyncio.sleep(2.5)
            report = await load.stop()
        assert report.errors == {}
        share = report.ok / 5
        assert all(0.75 * share <= number <= 1.25 * share for number in report.hosts.values()), report.hosts


async def test_a_worker_away_beyond_the_timeout_keeps_serving_requests(swarm: Cluster):
    async with service(swarm, "web", 6, "--replicas", "6", "-p", f"{PORT}:80") as tasks:
        host = swarm.hosts[1]
        async with Load(swarm.lab.client, f"http://{host.ip}:{PORT}/", rate=200) as load:
            await swarm.workers[host.name].stop()
            await swarm.node_is(host, "disconnected")
            await asyncio.sleep(5)
            await swarm.start_worker(host)
            await swarm.node_is(host, "ready")
            report = await load.stop()
        assert report.errors == {}
        assert {task["ID"] for task in await swarm.running("web", 6)} == {task["ID"] for task in tasks}


async def test_a_host_without_a_replica_answers_tcp_udp_and_loopback(swarm: Cluster):
    only_last = ("--constraint", f"node.hostname=={swarm.hosts[-1].name}")
    ports = ("-p", f"{PORT}:80", "-p", f"{PORT}:80/udp")
    async with service(swarm, "web", 1, "--replicas", "1", *ports, *only_last) as (task,):
        hostname = task["Status"]["ContainerStatus"]["ContainerID"][:12]
        for host in swarm.hosts:
            answer = await ask(swarm.lab.client, f"http://{host.ip}:{PORT}/")
            assert (answer["host"], answer["client"]) == (hostname, swarm.lab.client.ip)
            for own in ("127.0.0.1", host.ip):
                assert (await ask(host, f"http://{own}:{PORT}/"))["host"] == hostname
            for sent in ("hello", TOO_LARGE):
                name, client, _, echoed = (await udp(swarm.lab.client, host.ip, PORT, sent)).split()
                assert (name, client, echoed) == (hostname, swarm.lab.client.ip, sent)


async def test_a_port_bound_to_one_address_answers_there_only(swarm: Cluster):
    spec = {
        "Name": "web",
        "TaskTemplate": {"ContainerSpec": {"Image": "web:lab"}},
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Ports": [{"TargetPort": 80, "PublishedPort": 8081, "HostIP": "127.0.0.1"}]},
    }
    async with swarm._http.post("http://manager/services/create", json=spec) as created:
        assert created.status == 201, await created.text()
    try:
        await swarm.running("web", 1)
        await known_everywhere(swarm, "web", 1)
        for host in swarm.hosts:
            assert await ask(host, "http://127.0.0.1:8081/")
            outside = await swarm.lab.client.run("curl", "-sS", "-m", "2", f"http://{host.ip}:8081/", check=False)
            assert outside.returncode == CURL_REFUSED
    finally:
        await remove(swarm, "web")


async def test_a_host_mode_port_is_answered_by_its_own_host_only(swarm: Cluster):
    where = swarm.hosts[1]
    port = (
        "-p",
        "mode=host,target=80,published=8082",
        "--network",
        "blue",
        "--constraint",
        f"node.hostname=={where.name}",
    )
    async with service(swarm, "web", 1, *port):
        answer = await ask(swarm.lab.client, f"http://{where.ip}:8082/")
        assert answer["client"] == swarm.lab.client.ip
        elsewhere = f"http://{swarm.hosts[2].ip}:8082/"
        assert (await swarm.lab.client.run("curl", "-sS", "-m", "2", elsewhere, check=False)).returncode == CURL_REFUSED


async def test_large_bodies_cross_hosts_both_ways(swarm: Cluster):
    only_last = ("--constraint", f"node.hostname=={swarm.hosts[-1].name}")
    size = 1_000_000
    async with service(swarm, "web", 1, "--network", "blue", "-p", f"{PORT}:80", *only_last):
        url = f"http://{swarm.manager_host.ip}:{PORT}"
        got = await swarm.lab.client.run("sh", "-c", f"curl -sS -m 10 {url}/bytes/{size} | wc -c")
        assert int(got.stdout) == size
        sent = f"head -c {size} /dev/zero | curl -sS -m 10 --data-binary @- {url}/"
        assert json.loads((await swarm.lab.client.run("sh", "-c", sent)).stdout)["body"] == size
        async with service(swarm, "asker", 3, "--mode", "global", "--network", "blue"):
            box = await swarm.container_of(swarm.manager_host, "asker")
            fetch = f"wget -q -O - http://{await swarm.vip('web')}/bytes/{size} | wc -c"
            assert int(await swarm.manager_host.docker("exec", box["Id"], "sh", "-c", fetch)) == size


async def test_no_request_fails_while_a_service_is_scaled_and_updated(swarm: Cluster):
    """Its program has no health check, and takes a while to listen."""
    for order in ("start-first", "stop-first"):
        options = ("--replicas", "3", "--update-order", order, "--update-monitor", "200ms", "-p", f"{PORT}:80")
        late = ("--env", "WEB_START_DELAY_MS=300")
        load = Load(swarm.lab.client, f"http://{swarm.hosts[1].ip}:{PORT}/", rate=200)
        async with service(swarm, "web", 3, *options, *late), load:
            await swarm.swarm("service", "scale", "--detach", "web=6")
            await swarm.running("web", 6)
            await swarm.swarm("service", "scale", "--detach", "web=3")
            await swarm.running("web", 3)
            await swarm.swarm("service", "update", "-q", "--no-resolve-image", "--env-add", "X=1", "web")
            report = await load.stop()
        assert report.errors == {}, order
        assert report.ok == report.sent
        assert report.ok > 200


async def test_rules_links_and_settings_are_repaired_under_load(swarm: Cluster):
    damages = (
        "nft flush ruleset",
        "ip link del orc-vx",
        "ip link del oc-gw",
        "ip link set oc-gw down",
        "ip link set orc-vx mtu 1280 address 02:00:00:00:00:99",
        "ip -4 addr flush dev oc-gw",
        "ip link set oc-gw mtu 1300",
        "ip link set $(ls /sys/class/net/oc-gw/brif | head -1) nomaster",
        "echo 0 >/sys/class/net/oc-gw/brif/$(ls /sys/class/net/oc-gw/brif | head -1)/hairpin_mode",
        "ip route flush proto 111",
        "nft delete table netdev orc",
        "nft delete chain ip orc h_post || nft flush chain ip orc h_post",
        "nft delete table ip orc-services",
        "sysctl -qw net.ipv4.conf.orc-vx.rp_filter=1 net.bridge.bridge-nf-call-iptables=0",
    )
    victim = swarm.manager_host
    async with service(swarm, "web", 3, "--replicas", "3", "-p", f"{PORT}:80", "--network", "blue"):
        for damage in damages:
            looked = time.monotonic()
            before = await state(victim)
            a_look = time.monotonic() - looked
            await victim.run("sh", "-c", damage, check=False)

            async def whole(expected: str = before) -> bool:
                return await state(victim) == expected

            took = await swarm.until(whole, 5)
            assert took < REPAIR_SECONDS + 2 * a_look, damage
        await still_balanced(swarm, victim)
        async with Load(swarm.lab.client, f"http://{victim.ip}:{PORT}/", rate=100) as load:
            await victim.run("nft", "flush", "ruleset")
            flushed = time.time()
            await asyncio.sleep(1.5)
            report = await load.stop()
        assert all(when < flushed + REPAIR_SECONDS for when in report.error_times)
        assert report.ok > report.sent / 2
    assert "repaired" in swarm.workers[victim.name].output()


async def still_balanced(swarm: Cluster, through: Host) -> None:
    """Check that every replica answers through a host."""
    url = f"http://{through.ip}:{PORT}/?[1-60]"
    answers = (await swarm.lab.client.run("curl", "-sS", "--max-time", "10", "-H", "Connection: close", url)).stdout
    assert len(set(re.findall(r'"host": "(\w+)"', answers))) == 3


async def test_a_restarted_engine_keeps_letting_traffic_through(swarm: Cluster):
    """Its rules are flushed, then all rules; Docker makes its chain anew, without ours."""
    host = swarm.hosts[1]
    options = ("--replicas", "3", "-p", f"{PORT}:80", "--network", "blue", "--restart-delay", "100ms")
    async with service(swarm, "web", 3, *options) as tasks:
        own = (await swarm.container_of(host, "web"))["Config"]["Labels"]["com.docker.swarm.task.id"]
        assert own in [task["ID"] for task in tasks]

        async def answers() -> bool:
            url = f"http://{host.ip}:{PORT}/?[1-12]"
            return not (await swarm.lab.client.run("curl", "-sSf", "-m", "0.5", url, check=False)).returncode

        await host.run("iptables", "-F")  # which leaves Docker's policy: to drop what no rule lets through
        assert await swarm.until(answers, 10) < REPAIR_SECONDS
        await host.run("nft", "flush", "ruleset")
        await host.restart_engine()  # which stops its containers

        async def accepts() -> bool:
            chain = await host.run("iptables", "-S", "DOCKER-USER", check=False)
            return chain.stdout.count("-j ACCEPT") == len(RULES)

        assert await swarm.until(accepts, 5) < REPAIR_SECONDS
        await swarm.tasks_when("web", lambda tasks: own not in [task["ID"] for task in tasks])
        await swarm.running("web", 3)
        await known_everywhere(swarm, "web", 3)
        await still_balanced(swarm, host)


@long
async def test_a_bridge_that_docker_adopted_goes_with_its_network(swarm: Cluster):
    """Its range would be the host's, and the next network of that range refused."""
    host = swarm.hosts[1]
    options = ("--network", "again", "--mode", "global")

    async def index() -> str:
        return (await host.run("cat", f"/sys/class/net/{name}/ifindex", check=False)).stdout.strip()

    async def is_anew() -> bool:
        return await index() not in (before, "")

    async def is_gone() -> bool:
        return not await index()

    for breaking in ("link", "rules"):
        await swarm.swarm("network", "create", "-d", "overlay", "--subnet", "10.66.0.0/24", "again")
        name = f"oc-{(await swarm.get('/networks/again'))['Id'][:12]}"
        if breaking == "rules":  # Docker's chains too: it makes a bridge, and then fails
            await host.run("nft", "flush", "ruleset")
        async with service(swarm, "web", 3, *options):
            if breaking == "link":
                before = await index()
                await host.run("ip", "link", "del", name)
                await swarm.until(is_anew, 10)
        await swarm.swarm("network", "rm", "again")
        await swarm.until(is_gone, 10)
    await host.restart_engine()
    await swarm.node_is(host, "ready")


async def test_a_new_network_can_have_the_range_of_one_just_removed(swarm: Cluster):
    """As when a stack is removed and deployed again: the hosts have the old one still, one because of a stranger."""
    host = swarm.hosts[1]
    before = {name: worker.output() for name, worker in swarm.workers.items()}
    config = {"Driver": "overlay", "IPAM": {"Config": [{"Subnet": "10.66.0.0/24"}]}}

    def everywhere(name: str, network: str) -> dict[str, Any]:
        task = {"ContainerSpec": {"Image": "web:lab"}, "Networks": [{"Target": network}]}
        return {"Name": name, "TaskTemplate": task, "Mode": {"Global": {}}}

    async def removed() -> bool:
        with suppress(AssertionError):  # while its tasks are on the way out
            await swarm.request("DELETE", "/networks/old")
            return True
        return False

    await swarm.request("POST", "/networks/create", {"Name": "old", **config})
    await swarm.request("POST", "/services/create", everywhere("was", "old"))
    await swarm.running("was", 3)
    (found,) = [line for line in (await host.docker("network", "ls")).splitlines() if "orc-old" in line]
    await host.docker("run", "-d", "--name", "stranger", "--network", found.split()[0], "web:lab")
    async with service(swarm, "other", 3, "--mode", "global", "--network", "red"):
        await swarm.request("DELETE", "/services/was")
        await swarm.until(removed, 10)
        await swarm.request("POST", "/networks/create", {"Name": "new", **config})
        await swarm.request("POST", "/services/create", everywhere("web", "new"))
        await swarm.tasks_when("web", lambda tasks: [each["Status"]["State"] for each in tasks].count("running") == 2)
        await swarm.workers[host.name].logged("has active endpoints", 10)
    # It has stopped without waiting for that network.
    await host.docker("rm", "-f", "stranger")
    await swarm.running("web", 3)
    await remove(swarm, "web")
    await swarm.swarm("network", "rm", "new")
    for name, worker in swarm.workers.items():
        said = worker.output().removeprefix(before[name])
        assert "overlap" not in said  # it may say that the old one is still in use
        assert "was missing" not in said
        assert "may still lead to it" not in said


@long
async def test_tasks_go_to_the_nodes_that_a_full_network_has_parts_for(swarm: Cluster):
    """It has two parts for three nodes. What cannot be had is said where one looks, and a drain finds its way."""
    await swarm.swarm("network", "create", "-d", "overlay", "--subnet", "10.66.0.0/27", "tight")
    names = {node["ID"]: name for name, node in (await swarm.nodes()).items()}
    options = ("--network", "tight")
    async with service(swarm, "web", 3, *options, "--replicas", "3") as tasks:
        able = {names[task["NodeID"]] for task in tasks}
        assert len(able) == 2
        create = ("service", "create", "-q", "--detach", "--no-resolve-image", "--name", "every", "--mode", "global")
        await swarm.swarm(*create, *options, "web:lab")
        await swarm.tasks_when("every", lambda tasks: [t["Status"]["State"] for t in tasks].count(RUNNING) == 2)
        (waits,) = [task for task in await swarm.tasks("every") if task["Status"]["State"] != RUNNING]
        assert names[waits["NodeID"]] not in able
        assert waits["Status"]["State"] == "pending"
        assert waits["Status"]["Err"] == "no suitable node (no addresses of network tight left for 1 node)"
        assert (
            "no addresses of network tight left" in (await swarm.swarm("service", "ps", "--no-trunc", "every")).stdout
        )
        # 11 addresses there are for containers, and 2 of them are those of the other service.
        await swarm.swarm("service", "scale", "--detach", "web=12")
        await swarm.tasks_when("web", lambda tasks: [t["Status"]["State"] for t in tasks].count(RUNNING) == 9)
        waiting = [task["Status"] for task in await swarm.tasks("web") if task["Status"]["State"] != RUNNING]
        assert {status["State"] for status in waiting} == {"pending"}
        assert {status["Err"] for status in waiting} == {
            "no suitable node (no addresses of network tight left for 3 nodes)"
        }
        assert all(task["Status"]["State"] != "rejected" for task in await swarm.tasks("web", ""))
        await swarm.swarm("service", "scale", "--detach", "web=3")
        await swarm.running("web", 3)
        leaving, staying = sorted(able)
        await swarm.swarm("node", "drain", "--wait", leaving)
        moved = await swarm.running("web", 3)
        assert {names[task["NodeID"]] for task in moved} == {staying}
        await swarm.swarm("node", "activate", leaving)
        await remove(swarm, "every")
    await swarm.swarm("network", "rm", "tight")


async def state(host: Host) -> str:
    """Return what the data plane has made on a host, in an order that does not change."""
    script = """
        ip link show orc-vx | grep -o 'mtu [0-9]*\\|link/ether [^ ]*'; ip link show oc-gw | grep -o 'mtu [0-9]*'
        for table in orc orc-services; do
            nft -s list table ip $table | tr ',' '\\n' | sed 's/elements = //; s/[{}]//; s/^[ \\t]*//; s/ *$//' | sort
        done
        ip -br addr show orc-vx | cut -d' ' -f1,3-; ip -br -4 addr show oc-gw; ip route show table all proto 111 | sort
        nft -s list table netdev orc; for port in $(ls /sys/class/net/oc-gw/brif); do
            echo $port $(cat /sys/class/net/$port/brport/hairpin_mode); done
        sysctl net.ipv4.conf.orc-vx.rp_filter net.bridge.bridge-nf-call-iptables
    """
    return (await host.run("sh", "-c", script, check=False)).stdout


async def test_clients_of_a_lost_host_are_not_left_waiting(swarm: Cluster):
    """Those that send hear it, and so do those that wait: outside, on a host, and in a container."""
    asked, lost = swarm.hosts[1], swarm.hosts[-1]
    async with service(swarm, "web", 6, "--replicas", "6", "--network", "blue", "-p", f"{PORT}:80"):
        there = {box["Config"]["Hostname"] for box in await swarm.containers(lost, everything=False)}
        box = (await swarm.containers(asked, everything=False))[0]
        silent = [
            *[await silent_clients(swarm.lab.client, address, PORT) for address in (asked.ip, asked.ip6)],
            *[await silent_clients(asked, address, PORT) for address in ("127.0.0.1", "::1")],
            await silent_clients(asked, await swarm.vip("web"), 80, *inside(box)),
        ]
        async with Load(swarm.lab.client, f"http://{swarm.hosts[1].ip}:{PORT}/", rate=100, connections="kept") as load:
            await asyncio.sleep(0.5)
            await lost.cut()
            await swarm.node_is(lost, "down")
            for clients in silent:
                for server in there & servers_of(clients):
                    await clients.logged(f"lost {server}\n", LOST_SECONDS)
            heard = time.time()
            await asyncio.sleep(2)
            report = await load.stop()
        assert max(report.error_times, default=heard) < heard + 1, report.errors
        assert report.ok > report.sent * 0.8
        for clients in silent:
            await clients.stop()
            still_open = json.loads(clients.output().splitlines()[-1])
            assert there & still_open.keys(), "none of them was connected to the lost host"
            assert {server for server, count in still_open.items() if not count} == there & still_open.keys()
        await lost.mend()
        await swarm.node_is(lost, "ready")
        await swarm.running("web", 6)


async def silent_clients(host: Host, address: str, port: int, *enter: str) -> Process:
    """Start clients that wait without sending, when all are connected."""
    program = (sys.executable, str(SILENT), address, str(port), "24")
    process = await host.spawn(*enter, *program, name=f"silent-{address}")
    await process.logged("asked")
    return process


def servers_of(clients: Process) -> set[str]:
    (asked,) = [line for line in clients.output().splitlines() if line.startswith("asked ")]
    return set(asked.split()[1:])


async def test_leaving_leaves_the_host_as_it_was(swarm: Cluster):
    """The last test: the host is gone from the cluster afterwards."""
    host = swarm.hosts[-1]
    await swarm.workers[host.name].stop()
    left = (await host.run("swarm-worker", "leave")).stdout
    assert "left the cluster" in left
    inventory = """
        ip -br link | cut -d' ' -f1; ip rule; ip route show table all | grep -e orc -e 'proto 111'
        nft list tables | grep orc; iptables -S DOCKER-USER; docker network ls -q --filter name=orc
        ls /var/lib/swarm-worker
    """
    found = (await host.run("sh", "-c", inventory, check=False)).stdout
    assert "oc-" not in found
    assert "orc" not in found
    assert "fwmark" not in found
    # The chain is there as Docker makes it: before Docker 28 with a RETURN, later with nothing.
    assert re.findall(r"DOCKER-USER.*", found) in (["DOCKER-USER"], ["DOCKER-USER", "DOCKER-USER -j RETURN"])
