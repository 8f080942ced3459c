"""The docker CLI and ours at the same API: what they print must be equal, line by line."""

import difflib
import json
import re
import shlex

import pytest

from tests.api.conftest import DockerCli, Ran
from tests.api.swarm_cli import SwarmCli
from tests.fakes.api_cluster import ApiCluster

# Times are told in words; the two commands do not run in the same second.
_AGO = re.compile(r"(Less than a second|1 second|\d+ seconds|About a minute) ago", re.IGNORECASE)
_ZEROS = re.compile(r'0+Z"')  # of a fraction: docker leaves them out
_SPACES = re.compile(r" +")
STACK = """
services:
  web:
    image: "registry.example/web:1.2"
    ports: ["8080-8081:80-81"]
    networks: [front]
    deploy: {replicas: 2}
networks:
  front: {}
"""

EQUAL = (
    "node ls",
    "node ls --quiet",
    "node ls --filter role=worker",
    "node ls --format json",
    "node ls --format raw",
    "node ls --format '{{.Hostname}}: {{.Status}}{{if .Self}} (here){{end}}'",
    r"node ls --format 'table {{.Hostname}}\t{{.ManagerStatus}}\t{{.TLSStatus}}'",
    "node inspect w1 m1",
    "node inspect --pretty w1",
    "node inspect --pretty self",
    "node inspect --format '{{.Description.Hostname}}' w1",
    "node ps w1",
    "node ps -q w1",
    "service ls",
    "service ls -q",
    "service ls --format json",
    "service ls --format raw",
    "service ls --filter name=full",
    "service ls --filter mode=global",
    r"service ls --format 'table {{.Name}}\t{{.Ports}}'",
    "service ls --format '{{upper .Name}} {{json .Replicas}}'",
    "service ps full",
    "service ps --no-trunc full",
    "service ps --no-resolve full",
    "service ps -q full",
    "service ps --format json full",
    "service ps --format raw full",
    "service ps --filter desired-state=running full global",
    "service inspect full",
    "service inspect full global shop_web",
    "service inspect --pretty full",
    "service inspect --pretty global",
    "service inspect --pretty shop_web",
    "service inspect --format '{{.Spec.Name}} {{json .Spec.Labels}}' full",
    "service inspect --format json full",
    "stack ls",
    "stack ls --format json",
    "stack services shop",
    "stack services --format '{{.Name}}' shop",
    "stack services nothing",
    "stack ps shop",
    "stack ps -q shop",
    "secret ls",
    "secret ls --format json",
    "secret inspect token",
    "secret inspect --pretty token",
    "config ls",
    "config ls --format json",
    "config inspect --pretty motd",
    "config inspect motd",
    "network ls",
    "network ls --no-trunc",
    "network ls --format json",
    "network ls -q --filter driver=overlay",
    "network inspect front",
    "network inspect --format '{{.ID}} {{.Name}}' front",
    "inspect front w1 token",
    "service inspect --format '{{.UpdateStatus}} {{.PreviousSpec}} {{.Spec.Labels.nope}} {{.JobStatus}}|' global",
    "service inspect --format '{{with .Spec.TaskTemplate.ContainerSpec}}{{.User}}|{{.Init}} {{.Env}}{{end}}' global",
    "service inspect --format '{{.ServiceStatus}} {{json .Endpoint.Ports}} {{.Spec.Mode.Replicated}}' global",
    "node inspect --format '{{.ManagerStatus}} {{.Spec.Name}}| {{.Spec.Labels.nope}}' w1",
    "secret inspect --format '{{.Spec.Driver}} {{.Spec.Labels.nope}}' token",
    "network inspect --format '{{.Labels.nope}} {{.Peers}} {{.ConfigFrom.Network}}|' front",
    "inspect --type service --format '{{.Spec.Name}}' full",
)
# These fail, in the same words (but for the program's name) and with the same exit code.
EQUAL_FAILURES = (
    "service rm nothing",
    "service ps nothing",
    "service ps nothing full",
    "service ps --filter node=nothing full",
    "service ps --filter nonsense=x full",
    "service update nothing",
    "service scale nothing=1",
    "service rollback --detach=true nothing",
    "service create",
    "service create --no-such-flag x",
    "service create --mount nonsense image",
    "service create --limit-memory nonsense image",
    "service create --name full --detach --no-resolve-image busybox:1",
    "service create --detach --no-resolve-image --network nothing busybox:1",
    "service create --detach --no-resolve-image --secret nothing busybox:1",
    "service ls --filter nonsense",
    "service ls --filter nonsense=x",
    "node rm nothing",
    "node update nothing",
    "node ps nothing",
    "node update --availability nonsense w1",
    "secret rm nothing",
    "secret rm token nothing",
    "config rm nothing",
    "network rm nothing",
    "network inspect nothing",
    "network create front",
    "network connect nothing box",
    "network disconnect front nothing",
    "inspect nothing",
    "volume inspect nothing",
    "image inspect nothing",
    "image tag nothing some:1",
    "image save nothing",
    "stack ps nothing",
)


@pytest.fixture
async def swarm(cluster: ApiCluster, docker: DockerCli) -> SwarmCli:
    """Our CLI, and in the cluster a little of everything, made by docker's."""
    await docker.ok("network", "create", "-d", "overlay", "--label", "team=shop", "front")
    await docker.ok("secret", "create", "--label", "a=b", "token", "-", stdin="s3cret")
    await docker.ok("config", "create", "--label", "a=b", "motd", "-", stdin="hello\nthere")
    await docker.ok("node", "update", "--label-add", "disk=ssd", "--label-add", "bare=", "w1")
    await docker.ok("service", "create", *shlex.split(FULL))
    await docker.ok("service", "create", "-d", "--no-resolve-image", "--name", "global", "--mode", "global", "busybox")
    (docker.folder / "stack.yml").write_text(STACK)
    await docker.ok("stack", "deploy", "--detach=true", "--resolve-image", "never", "-c", "stack.yml", "shop")
    await docker.ok("service", "update", "-d", "--env-add", "MORE=1", "full")
    return SwarmCli(f"unix://{cluster.folder}/docker.sock")


FULL = """
--detach --no-resolve-image --name full --replicas 2 --label tier=back --label bare= --container-label inner=1
--env A=b --env 'C=d e' --publish 9000:80 --publish published=9001,target=81,protocol=udp --constraint node.role==worker
--placement-pref spread=node.labels.zone --replicas-max-per-node 3 --limit-cpu 0.5 --limit-memory 50M --limit-pids 100
--reserve-cpu .25 --reserve-memory 20M --restart-condition on-failure --restart-delay 3s --restart-max-attempts 4
--update-delay 1m30s --update-parallelism 2 --update-max-failure-ratio .25 --rollback-order start-first
--mount type=tmpfs,target=/tmp,tmpfs-size=10m --mount type=volume,source=data,target=/data,readonly
--secret source=token,target=/key,mode=0400 --config source=motd,target=/etc/motd --network name=front,alias=db
--user 1000:1000 --workdir /srv --hostname '{{.Task.Slot}}' --init --cap-add NET_ADMIN --cap-drop CHOWN
--sysctl net.core.somaxconn=1024 --ulimit nofile=100:200 --health-cmd 'test -f /x' --health-interval 10s
--health-retries 2 --log-driver json-file --log-opt max-size=1m --stop-grace-period 2s --dns 9.9.9.9 --host db:10.0.0.9
registry.example/team/app:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef serve --fast
"""


def told(ran: Ran) -> list[object]:
    """Return what was printed in a form to compare: JSON as data, since docker writes its own key order, and nulls."""
    if ran.out.startswith(("[\n", "[{")):
        return [json.loads(_ZEROS.sub('Z"', ran.out), object_hook=known)]
    text = _AGO.sub("WHILE ago", ran.out)
    return [_SPACES.sub(" ", line) if text != ran.out else line for line in text.split("\n")]


def known(data: dict[str, object]) -> dict[str, object]:
    """Drop nulls, and what docker cannot know of a node: its fields beyond Docker's API."""
    return {key: value for key, value in data.items() if value is not None and key not in ("Lacks", "Encryption")}


def report(different: list[tuple[str, Ran, Ran]]) -> str:
    """Show the first lines that differ of each command."""
    parts = []
    for line, theirs, ours in different:
        before, after = (f"{ran.out}{ran.err}(exit {ran.code})".splitlines() for ran in (theirs, ours))
        parts.append(f"$ {line}\n" + "\n".join(list(difflib.unified_diff(before, after, "docker", "ours", n=0))[:20]))
    return "\n\n".join(parts)


async def test_what_we_print_is_what_docker_prints(docker: DockerCli, swarm: SwarmCli):
    different = []
    for line in EQUAL:
        theirs, ours = await docker.run(*shlex.split(line)), await swarm.run(*shlex.split(line))
        assert theirs.code == 0, (line, theirs)
        if (ours.code, told(ours)) != (theirs.code, told(theirs)):
            different.append((line, theirs, ours))
    assert not different, report(different)


async def test_we_fail_as_docker_fails(docker: DockerCli, swarm: SwarmCli):
    different = []
    for line in EQUAL_FAILURES:
        theirs, ours = await docker.run(*shlex.split(line)), await swarm.run(*shlex.split(line))
        assert theirs.code != 0, (line, theirs)
        first = theirs.err.replace("docker ", "swarm-manager ").split("\n")[0]
        if (ours.code, ours.err.split("\n")[0], told(ours)) != (theirs.code, first, told(theirs)):
            different.append((line, theirs, ours))
    assert not different, report(different)


@pytest.mark.parametrize("line", [FULL, "-d --no-resolve-image --name full busybox:1"], ids=["full", "plain"])
async def test_our_create_makes_the_service_that_docker_makes(docker: DockerCli, swarm: SwarmCli, line: str):
    await docker.ok("service", "rm", "full")
    await docker.ok("service", "create", *shlex.split(line))
    theirs = await docker.ok("service", "inspect", "--format", "{{json .Spec}}", "full")
    await swarm.ok("service", "rm", "full")
    await swarm.ok("service", "create", *shlex.split(line))
    assert await docker.ok("service", "inspect", "--format", "{{json .Spec}}", "full") == theirs


UPDATES = (
    "--env-add X=y --env-rm A",
    "--image busybox:2 --no-resolve-image --args 'run --slow' --entrypoint 'sh -c'",
    "--label-add new=1 --label-rm tier --container-label-rm inner",
    "--publish-add 9100:90 --publish-rm 80",
    "--mount-add type=bind,source=/a,target=/b --mount-rm /data",
    "--constraint-add node.labels.x==y --constraint-rm node.role==worker",
    "--limit-memory 60M --reserve-cpu 0.5",
    "--secret-rm token --config-rm motd",
    "--secret-rm token --secret-add source=token,target=other",
    "--network-rm front",
    "--restart-condition any --restart-window 1m",
    "--update-parallelism 0 --update-order start-first --rollback-monitor 10s",
    "--health-cmd 'true' --health-timeout 3s",
    "--no-healthcheck",
    "--dns-add 1.1.1.1 --dns-rm 9.9.9.9 --host-add x:10.0.0.1 --host-rm db:10.0.0.9",
    "--replicas 5 --replicas-max-per-node 0",
    "--tty --read-only --init=false --user root --workdir / --hostname h --stop-signal SIGINT --stop-grace-period 5s",
    "--sysctl-add a.b=1 --sysctl-rm net.core.somaxconn --ulimit-add core=1 --ulimit-rm nofile",
    "--group-add 10 --placement-pref-add spread=node.labels.rack --placement-pref-rm spread=node.labels.zone",
    "--log-driver local --endpoint-mode dnsrr --publish-rm 80 --publish-rm target=81,protocol=udp",
    "--generic-resource-add gpu=2 --force",
    "--cap-add SYS_TIME --cap-drop NET_RAW",
    "--cap-add CHOWN --cap-drop NET_ADMIN",
    "--cap-add ALL --cap-drop NET_ADMIN",
    "--cap-add NET_ADMIN --cap-drop NET_ADMIN --cap-add CHOWN --cap-drop CHOWN",
    "--cap-add RESET --cap-add SYS_TIME --cap-drop reset",
    "--cap-drop ALL --cap-add NET_ADMIN",
)


@pytest.mark.parametrize("line", UPDATES)
async def test_our_update_changes_what_docker_changes(docker: DockerCli, swarm: SwarmCli, line: str):
    specs = []
    for cli in (docker, swarm):
        await docker.run("service", "rm", "full")
        await docker.ok("service", "create", *shlex.split(FULL))
        ran = await cli.run("service", "update", "--detach", *shlex.split(line), "full")
        assert ran.code == 0, ran
        specs.append(json.loads(await docker.ok("service", "inspect", "--format", "{{json .Spec}}", "full")))
        # Docker's command goes over a map, so the order of what it leaves of the environment is any.
        specs[-1]["TaskTemplate"]["ContainerSpec"].get("Env", []).sort()
    assert specs[1] == specs[0]


FULL_STACK = """
services:
  web:
    image: "busybox:1"
    command: sleep 9
    environment: {B: x, A: b}
    healthcheck: {test: ["CMD", "true"], interval: 5s}
    ports: ["8080:80"]
    networks: {front: {aliases: [www]}}
    volumes: ["data:/data"]
    deploy:
      replicas: 2
      labels: {tier: front}
      resources: {limits: {cpus: "0.1", memory: 50M}}
      restart_policy: {condition: on-failure}
      update_config: {parallelism: 2}
networks: {front: {}}
volumes: {data: {}}
"""


async def test_a_stack_deployed_by_docker_is_adopted_without_a_restart(docker: DockerCli, cluster: ApiCluster) -> None:
    """And the other way round: both commands make the same of a file."""
    file = docker.folder / "stack.yaml"
    file.write_text(FULL_STACK)
    await docker.ok("stack", "deploy", "-c", str(file), "shop")
    own = SwarmCli(f"unix://{cluster.folder}/docker.sock")
    before = spec_of(cluster)
    await own.ok("stack", "deploy", "--detach", "-c", str(file), "shop")
    assert spec_of(cluster) == before
    await docker.ok("stack", "deploy", "-c", str(file), "shop")
    assert spec_of(cluster) == before


def spec_of(cluster: ApiCluster) -> tuple[object, int]:
    [service] = cluster.store.view.services
    return service.spec, service.spec_version
