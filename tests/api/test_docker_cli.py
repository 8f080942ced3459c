"""The real docker CLI against the manager's API: scripts of invocations, with exit codes and output checked.

A step is the command line and patterns that its output must have; `!` before the command says that it must fail.
`$NAME` stands for the output of the step that was named so by `NAME=`.
"""

import asyncio
import json
import re
import shlex
import time
from dataclasses import dataclass

import pytest

from tests.api.conftest import DockerCli, Ran
from tests.fakes.api_cluster import MANAGER, WORKER1, ApiCluster


@dataclass(frozen=True)
class Step:
    line: str
    patterns: tuple[str, ...] = ()
    stdin: str = ""


def step(line: str, *patterns: str, stdin: str = "") -> Step:
    return Step(line, patterns, stdin)


async def play(docker: DockerCli, steps: tuple[Step, ...]) -> None:
    names: dict[str, str] = {}
    for each in steps:
        line = re.sub(r"\$(\w+)", lambda match: names[match[1]], each.line)
        name = re.match(r"(\w+)=", line)
        line = line[name.end() :] if name else line
        fails, line = line.startswith("!"), line.lstrip("!")
        ran = await docker.run(*shlex.split(line), stdin=each.stdin)
        assert (ran.code != 0) == fails, f"{line}: {ran}"
        check(line, ran, each.patterns)
        if name:
            names[name[1]] = ran.out.strip()


def check(line: str, ran: Ran, patterns: tuple[str, ...]) -> None:
    text = ran.out + ran.err
    for pattern in patterns:
        found = re.search(pattern.lstrip("!"), text, re.MULTILINE)
        assert (found is None) == pattern.startswith("!"), f"{line}: {pattern!r} in:\n{text}"


CREATE = "service create --detach --no-resolve-image --name web"
SCRIPTS: dict[str, tuple[Step, ...]] = {
    "version": (
        step("version", r"^Server: swarm-manager", r"API version: +1\.47 \(minimum version 1\.24\)"),
        step("version --format '{{.Server.Version}}'", r"^0\.1\.0$"),
    ),
    "info": (
        step("info", r"Swarm: active", rf"NodeID: {MANAGER}", r"Is Manager: true", r"Managers: 1", r"Nodes: 3"),
        step("info --format '{{.Swarm.LocalNodeState}} {{.NCPU}}'", r"^active 4$"),
    ),
    "node ls": (
        step("node ls", rf"^{MANAGER} \* +m1 +Ready +Active +Leader", rf"^{WORKER1} +w1 +Ready +Active +26\.1\.5"),
        step("node ls -q", rf"^{MANAGER}$"),
        step("node ls --filter role=worker -q", rf"^{WORKER1}$", f"!{MANAGER}"),
        step("node ls --filter name=w1 -q", rf"^{WORKER1}$"),
        step("!node ls --filter nope=x", r"invalid filter 'nope'"),
    ),
    "node inspect": (
        step("node inspect w1 --format '{{.Status.State}} {{.Status.Addr}}'", r"^ready 10\.1\.0\.2$"),
        step("node inspect --pretty w1", r"Hostname:\s+w1", r"State:\s+Ready", r"Memory:\s+4GiB", r"TLS Info:"),
        step("node inspect self --format '{{.ID}}'", rf"^{MANAGER}$"),
        step("!node inspect nope", r"node nope not found"),
    ),
    "node update": (
        step("node update --availability drain w1", r"^w1$"),
        step("node ls --filter name=w1", r"w1 +Ready +Drain"),
        step("node update --availability active --label-add zone=east w1"),
        step("node inspect w1 --format '{{.Spec.Labels}}'", r"map\[zone:east\]"),
        step("node ls --filter node.label=zone=east -q", rf"^{WORKER1}$"),
        step("node update --label-rm zone w1"),
        step("node inspect w1 --format '{{.Spec.Labels}}'", r"map\[\]"),
        step("!node update --availability nope w1", r"[Ii]nvalid [Aa]vailability"),
        step("!node demote m1", r"attempting to demote the last manager of the swarm"),
        step("!node promote w1", r"a worker cannot be promoted"),
    ),
    "node rm": (
        step("!node rm w1", r"is not down and can't be removed"),
        step("node rm --force w1", r"^w1$"),
        step("!node rm w1", r"node w1 not found"),
        step("!node rm --force m1", r"is a cluster manager"),
    ),
    "node ps": (
        step(f"{CREATE} --replicas 2 busybox"),
        step("node ps w1 w2", r"web\.1 +busybox", r"web\.2 +busybox"),
    ),
    "swarm": (
        step("swarm join-token -q worker", r"^SWMTKN-1-4k7ui8a2t9gezr0dxjid1qlzgoxelkagcru82w4ydy5ts2ihto-0ayofiaf"),
        step("swarm join-token worker", r"docker swarm join --token SWMTKN-1-\S+ 10\.1\.0\.1:2377"),
        step("swarm join-token --rotate -q worker", r"^SWMTKN-1-4k7ui8a\w+-\w{25}$", "!0ayofiaf"),
        step("swarm join-token -q manager", r"cvexdc9uufq0fr7ongo6etit6$"),
        step("swarm update --task-history-limit 2", r"Swarm updated"),
        step("info --format '{{.Swarm.Cluster.Spec.Orchestration.TaskHistoryRetentionLimit}}'", r"^2$"),
        step("swarm update --cert-expiry 720h"),
        step("info --format '{{.Swarm.Cluster.Spec.CAConfig.NodeCertExpiry}}'", r"^720h0m0s$"),
        step("!swarm update --cert-expiry 1m", r"minimum certificate expiry time is: 1h0m0s"),
        step("!swarm update --autolock", r"AutoLockManagers is not supported"),
        step("!swarm unlock-key", r"no unlock key is set"),
        step("!swarm init", r"This node is already part of a swarm"),
        step("!swarm join --token x 10.0.0.9:2377", r"swarm-worker join --token TOKEN HOST:PORT"),
        step("!swarm leave", r"participating as a manager"),
        step("swarm leave --force", r"Node left the swarm"),
    ),
    "service create": (
        step("id=service create --name web --replicas 3 -q -p 8080:80 busybox sleep 100", r"^\w{25}$"),
        step("service ls", r"^\w{12} +web +replicated +3/3 +busybox:latest +\*:8080->80/tcp$"),
        step("service ps web", r"web\.1 +busybox:latest +w\d +Running +Running .* ago", r"web\.3"),
        step("service inspect --pretty $id", r"Name:\s+web", r"Replicas:\s+3", r"PublishedPort = 8080"),
        step(
            "service inspect web --format '{{.Spec.TaskTemplate.ContainerSpec.Image}}'", r"^busybox:latest@sha256:abab"
        ),
        step(f"!{CREATE} busybox", r"name conflicts with an existing object: service web already exists"),
    ),
    "service create, progress": (
        step("service create --name web --replicas 2 busybox", r"overall progress: 2 out of 2 tasks", r"converged"),
    ),
    "service create, an unknown image is only warned of": (
        step("service create --detach --name web registry/unknown", r"could not be accessed on a registry"),
    ),
    "service create, bad flags": (
        step(f"!{CREATE} --network nope busybox", r"network nope not found"),
        step(f"!{CREATE} --secret nope busybox", r"secret not found: nope"),
        step(f"!{CREATE} --config nope busybox", r"config not found: nope"),
        step(f"!{CREATE} --constraint x busybox", r"constraint.*'?x'?"),
        step(f"!{CREATE} --reserve-memory 1m busybox", r"invalid memory value 1048576: Must be at least 4MiB"),
        step(f"!{CREATE} --limit-cpu 0.0001 busybox", r"Must be at least 0\.001"),
        step(f"!{CREATE} --endpoint-mode dnsrr -p 80:80 busybox", r"ingress mode can't be used with dnsrr"),
        step("!service create --name 'a b' busybox", r"name must be valid as a DNS name component"),
        step("service ls -q", r"!\w"),
    ),
    "service update": (
        step(f"{CREATE} --replicas 2 busybox"),
        step("service update -d --no-resolve-image --image busybox:2 --env-add A=b --label-add l=1 web", r"^web$"),
        step("service ls", r"2/2 +busybox:2"),
        step("service ps web", r"\\_ web\.1 +busybox:latest +w\d +Shutdown"),
        step("service inspect web --format '{{.Spec.Labels}}{{.UpdateStatus.State}}'", r"map\[l:1\]completed"),
        step("service inspect web --format '{{.PreviousSpec.TaskTemplate.ContainerSpec.Image}}'", r"^busybox:latest$"),
        step("service update -d --no-resolve-image --args 'sleep 5' --update-parallelism 0 --update-delay 1s web"),
        step("service inspect --pretty web", r"Args:\s+sleep 5", r"UpdateConfig:\n Parallelism:\t0", r"Delay:\t\t1s"),
        step("service update -d --no-resolve-image --force web"),
        step("service inspect web --format '{{.Spec.TaskTemplate.ForceUpdate}}'", r"^1$"),
        step("!service update -d --image x nope", r"service nope not found"),
    ),
    "service rollback": (
        step(f"{CREATE} busybox:1"),
        step("!service rollback -d web", r"does not have a previous spec"),
        step("service update -d --no-resolve-image --image busybox:2 web"),
        step("service rollback -d web", r"^web$"),
        step("service ls", r"busybox:1"),
        step("service inspect web --format '{{.UpdateStatus.State}}'", r"^rollback_completed$"),
        step("service update -d --rollback web"),
        step("service ls", r"busybox:2"),
    ),
    "service scale and rm": (
        step(f"{CREATE} busybox"),
        step("service create -d --no-resolve-image --name all --mode global busybox"),
        step("service scale -d web=4", r"web scaled to 4"),
        step("service ls", r"web +replicated +4/4", r"all +global +2/2"),
        step("!service scale -d all=4", r"scale can only be used with replicated"),
        step("service rm web all", r"^web$", r"^all$"),
        step("service ls -q", r"!\w"),
        step("!service rm web", r"service web not found"),
        step("!service ps web", r"no such service: web"),
    ),
    "service ls, ps: filters and formats": (
        step(f"{CREATE} --label tier=front --replicas 2 busybox"),
        step("service create -d --no-resolve-image --name db --mode global busybox"),
        step("service ls --filter name=web --format '{{.Name}}'", r"^web$", r"!db"),
        step("service ls --filter label=tier=front --format '{{.Name}}'", r"^web$", r"!db"),
        step("service ls --filter mode=global --format '{{.Name}} {{.Replicas}}'", r"^db 2/2$", r"!web"),
        step("service ps --filter node=w1 --format '{{.Name}} {{.Node}}' web", r"^web\.2 w1$", r"!w2"),
        step("service ps --filter desired-state=running -q web", r"^\w{25}$"),
        step("service ps --no-trunc --filter name=web.1 web", r"web\.1"),
    ),
    "service logs": (
        step(f"{CREATE} --replicas 3 busybox"),
        step("service logs web", r"^web\.1\.\w{12}@w\d +\| hello from \w{25}$", r"^web\.3\.\w+@w\d +\| careful$"),
        step(
            "service logs --tail 1 --timestamps --no-task-ids web",
            r"^2026-01-31T12:00:00.123456789Z web\.1@w2 +\| careful",
        ),
        step("service logs --raw web", r"^hello from"),
        step("service logs --details web", r"com\.docker|hello"),
        step("task=service ps -q --filter name=web.1 web"),
        step("service logs $task", r"^web\.1\.\w{12}@w\d +\| hello", r"!web\.2"),
        step("!service logs nope", r"task nope not found|no such task or service: nope"),
    ),
    "secret": (
        step("id=secret create --label a=b s1 -", r"^\w{25}$", stdin="hush-hush"),
        step("!secret create s1 -", r"rpc error: code = AlreadyExists desc = secret s1 already exists", stdin="x"),
        step("!secret create 'a b' -", r"invalid name, only 64", stdin="x"),
        step("secret ls", r"^\w{25} +s1"),
        step("secret ls --filter label=a=b -q", r"\w{25}"),
        step("secret inspect s1", r'"Name": "s1"', r"!hush", r"!Data", r"!aHVzaC1odXNo"),
        step("secret inspect --pretty s1", r"Name:\s+s1"),
        step(f"{CREATE} --secret source=s1,target=/run/x,mode=0400 busybox"),
        step("!secret rm s1", r"secret 's1' is in use by the following service: web"),
        step("service inspect web", r'"SecretName": "s1"', r'"Name": "/run/x"', r'"Mode": 256', r"!hush"),
        step("service rm web"),
        step("secret rm s1", r"^s1$"),
        step("!secret inspect s1", r"secret s1 not found"),
    ),
    "config": (
        step("id=config create c1 -", r"^\w{25}$", stdin="hello"),
        step("!config create c1 -", r"config c1 already exists", stdin="x"),
        step("config inspect --pretty c1", r"Data:\nhello"),
        step("config ls --filter name=c1 -q", r"\w{25}"),
        step(f"{CREATE} --config source=c1,target=/etc/c busybox"),
        step("!config rm c1", r"config 'c1' is in use by the following service: web"),
        step("service rm web"),
        step("config rm c1"),
    ),
    "network": (
        step("id=network create -d overlay --attachable --label a=b --subnet 10.99.0.0/24 on1", r"^\w{25}$"),
        step("!network create -d overlay on1", r"network with name on1 already exists"),
        step("!network create -d overlay host", r"network with name host already exists"),
        step("!network create -d overlay --subnet nope on2", r"invalid"),
        step("!network create -d overlay --subnet 10.99.0.0/25 on2", r"overlaps"),
        step("!network create -d macvlan on2", r"'macvlan' is not supported"),
        step("network create br", r"^\w{25}$"),
        step("network ls", r"on1 +overlay +swarm", r"ingress +overlay +swarm", r"host +host +local", r"br +overlay"),
        step("network ls --filter scope=swarm --filter name=on1 -q", r"^\w{12}$"),
        step("network ls --filter type=custom --format '{{.Name}}'", r"^on1$", r"!ingress", r"!host"),
        step(
            "network inspect on1 --format '{{(index .IPAM.Config 0).Subnet}} {{.Attachable}}'", r"^10\.99\.0\.0/24 true"
        ),
        step(f"{CREATE} --network on1 busybox"),
        step("!network rm on1", r"network \w{25} is in use by service \w{25}"),
        step("!network rm host", r"host is a pre-defined network and cannot be removed"),
        step("!network rm nope", r"network nope not found"),
        step("network prune -f", r"Deleted Networks:\nbr"),
        step("service rm web"),
        step("network rm on1", r"^on1$"),
    ),
    "volumes, disk usage, login": (
        step("volume ls -q", r"!\w"),
        step("system df", r"^Images +\d+ "),
        step("!login -u u -p wrong 127.0.0.1:5000", r"incorrect username or password"),
        step("login -u u -p right 127.0.0.1:5000", r"Login Succeeded"),
    ),
}


@pytest.mark.parametrize("script", SCRIPTS)
async def test_script(docker: DockerCli, script: str) -> None:
    await play(docker, SCRIPTS[script])


# One flag of `service create` a row: where it must stand in the service, and how.
FLAGS: tuple[tuple[str, str, str], ...] = (
    ("--cap-add NET_ADMIN", ".TaskTemplate.ContainerSpec.CapabilityAdd", '["CAP_NET_ADMIN"]'),
    ("--cap-drop CHOWN", ".TaskTemplate.ContainerSpec.CapabilityDrop", '["CAP_CHOWN"]'),
    ("--constraint node.role==worker", ".TaskTemplate.Placement.Constraints", '["node.role==worker"]'),
    ("--container-label a=b", ".TaskTemplate.ContainerSpec.Labels", '{"a":"b"}'),
    ("--dns 1.1.1.1", ".TaskTemplate.ContainerSpec.DNSConfig.Nameservers", '["1.1.1.1"]'),
    ("--dns-option x", ".TaskTemplate.ContainerSpec.DNSConfig.Options", '["x"]'),
    ("--dns-search y", ".TaskTemplate.ContainerSpec.DNSConfig.Search", '["y"]'),
    ("--endpoint-mode dnsrr", ".EndpointSpec.Mode", '"dnsrr"'),
    ("--entrypoint 'sh -c'", ".TaskTemplate.ContainerSpec.Command", '["sh","-c"]'),
    ("-e A=b", ".TaskTemplate.ContainerSpec.Env", '["A=b"]'),
    (
        "--generic-resource gpu=2",
        ".TaskTemplate.Resources.Reservations.GenericResources",
        '[{"DiscreteResourceSpec":{"Kind":"gpu","Value":2}}]',
    ),
    ("--group g", ".TaskTemplate.ContainerSpec.Groups", '["g"]'),
    ("--health-cmd true", ".TaskTemplate.ContainerSpec.Healthcheck.Test", '["CMD-SHELL","true"]'),
    ("--health-cmd true --health-interval 5s", ".TaskTemplate.ContainerSpec.Healthcheck.Interval", "5000000000"),
    ("--health-cmd true --health-retries 3", ".TaskTemplate.ContainerSpec.Healthcheck.Retries", "3"),
    ("--health-cmd true --health-timeout 5s", ".TaskTemplate.ContainerSpec.Healthcheck.Timeout", "5000000000"),
    ("--health-cmd true --health-start-period 1s", ".TaskTemplate.ContainerSpec.Healthcheck.StartPeriod", "1000000000"),
    (
        "--health-cmd true --health-start-interval 1s",
        ".TaskTemplate.ContainerSpec.Healthcheck.StartInterval",
        "1000000000",
    ),
    ("--no-healthcheck", ".TaskTemplate.ContainerSpec.Healthcheck.Test", '["NONE"]'),
    ("--host h:1.2.3.4", ".TaskTemplate.ContainerSpec.Hosts", '["1.2.3.4 h"]'),
    ("--hostname {{.Task.Slot}}", ".TaskTemplate.ContainerSpec.Hostname", '"{{.Task.Slot}}"'),
    ("--init", ".TaskTemplate.ContainerSpec.Init", "true"),
    ("-l a=b", ".Labels", '{"a":"b"}'),
    ("--limit-cpu 0.5", ".TaskTemplate.Resources.Limits.NanoCPUs", "500000000"),
    ("--limit-memory 50m", ".TaskTemplate.Resources.Limits.MemoryBytes", "52428800"),
    ("--limit-pids 9", ".TaskTemplate.Resources.Limits.Pids", "9"),
    ("--log-driver none", ".TaskTemplate.LogDriver.Name", '"none"'),
    ("--log-opt max-size=1m --log-driver json-file", ".TaskTemplate.LogDriver.Options", '{"max-size":"1m"}'),
    ("--mode global", ".Mode", '{"Global":{}}'),
    (
        "--mount type=volume,source=v,target=/v,readonly",
        ".TaskTemplate.ContainerSpec.Mounts",
        '[{"Type":"volume","Source":"v","Target":"/v","ReadOnly":true}]',
    ),
    (
        "--mount type=bind,source=/b,target=/b,bind-propagation=rshared",
        ".TaskTemplate.ContainerSpec.Mounts",
        '[{"Type":"bind","Source":"/b","Target":"/b","BindOptions":{"Propagation":"rshared"}}]',
    ),
    (
        "--mount type=tmpfs,target=/t,tmpfs-size=1m",
        ".TaskTemplate.ContainerSpec.Mounts",
        '[{"Type":"tmpfs","Target":"/t","TmpfsOptions":{"SizeBytes":1048576}}]',
    ),
    (
        "-p published=53,target=53,protocol=udp,mode=host",
        ".EndpointSpec.Ports",
        '[{"Protocol":"udp","TargetPort":53,"PublishedPort":53,"PublishMode":"host"}]',
    ),
    (
        "--placement-pref spread=node.labels.zone",
        ".TaskTemplate.Placement.Preferences",
        '[{"Spread":{"SpreadDescriptor":"node.labels.zone"}}]',
    ),
    ("--read-only", ".TaskTemplate.ContainerSpec.ReadOnly", "true"),
    ("--replicas 0", ".Mode.Replicated.Replicas", "0"),
    ("--replicas-max-per-node 2", ".TaskTemplate.Placement.MaxReplicas", "2"),
    ("--reserve-cpu 0.5", ".TaskTemplate.Resources.Reservations.NanoCPUs", "500000000"),
    ("--reserve-memory 50m", ".TaskTemplate.Resources.Reservations.MemoryBytes", "52428800"),
    ("--restart-condition on-failure", ".TaskTemplate.RestartPolicy.Condition", '"on-failure"'),
    ("--restart-delay 0s", ".TaskTemplate.RestartPolicy.Delay", "0"),
    ("--restart-max-attempts 3", ".TaskTemplate.RestartPolicy.MaxAttempts", "3"),
    ("--restart-window 5s", ".TaskTemplate.RestartPolicy.Window", "5000000000"),
    ("--rollback-delay 1s", ".RollbackConfig.Delay", "1000000000"),
    ("--rollback-failure-action continue", ".RollbackConfig.FailureAction", '"continue"'),
    ("--rollback-max-failure-ratio 0.5", ".RollbackConfig.MaxFailureRatio", "0.5"),
    ("--rollback-monitor 2s", ".RollbackConfig.Monitor", "2000000000"),
    ("--rollback-order start-first", ".RollbackConfig.Order", '"start-first"'),
    ("--rollback-parallelism 0", ".RollbackConfig.Parallelism", "0"),
    ("--stop-grace-period 0s", ".TaskTemplate.ContainerSpec.StopGracePeriod", "0"),
    ("--stop-signal SIGINT", ".TaskTemplate.ContainerSpec.StopSignal", '"SIGINT"'),
    ("--sysctl a=b", ".TaskTemplate.ContainerSpec.Sysctls", '{"a":"b"}'),
    ("-t", ".TaskTemplate.ContainerSpec.TTY", "true"),
    ("--ulimit nofile=4:5", ".TaskTemplate.ContainerSpec.Ulimits", '[{"Name":"nofile","Hard":5,"Soft":4}]'),
    ("--update-delay 1s", ".UpdateConfig.Delay", "1000000000"),
    ("--update-failure-action rollback", ".UpdateConfig.FailureAction", '"rollback"'),
    ("--update-max-failure-ratio 0.5", ".UpdateConfig.MaxFailureRatio", "0.5"),
    ("--update-monitor 2s", ".UpdateConfig.Monitor", "2000000000"),
    ("--update-order start-first", ".UpdateConfig.Order", '"start-first"'),
    ("--update-parallelism 3", ".UpdateConfig.Parallelism", "3"),
    ("-u 1000:1000", ".TaskTemplate.ContainerSpec.User", '"1000:1000"'),
    ("-w /w", ".TaskTemplate.ContainerSpec.Dir", '"/w"'),
    ("--network host", ".TaskTemplate.Networks", '[{"Target":"host"}]'),
    ("--isolation default", ".TaskTemplate.ContainerSpec.Isolation", '"default"'),
)


@pytest.mark.parametrize(("flag", "field", "expected"), FLAGS, ids=[row[0] for row in FLAGS])
async def test_service_create_flag(docker: DockerCli, flag: str, field: str, expected: str) -> None:
    await docker.ok(*shlex.split(f"{CREATE} {flag} busybox"))
    [service] = json.loads(await docker.ok("service", "inspect", "web"))
    value = service["Spec"]
    for key in field.strip(".").split("."):
        value = value[key]
    assert value == json.loads(expected)


async def test_logs_of_a_service_with_a_lost_node(docker: DockerCli, cluster: ApiCluster) -> None:
    await docker.ok(*shlex.split(f"{CREATE} --replicas 4 busybox"))
    await docker.ok("service", "ps", "web")  # by now they run
    await cluster.engines.engines.pop(WORKER1).stop()
    ran = await docker.run("service", "logs", "web")
    assert ran.code == 0, ran
    assert len(re.findall(r"^web\.[13]\.\w+@w2 +\| hello", ran.out, re.MULTILINE)) == 2
    lost = rf"^web\.[24]\.\w+@w1 +\| warning: the log of this task is not complete: node {WORKER1} is not connected"
    assert len(re.findall(lost, ran.err, re.MULTILINE)) == 2


async def test_events(docker: DockerCli) -> None:
    process = await docker.start("events", "--format", "{{.Type}} {{.Action}} {{.Actor.Attributes.name}}")
    await docker.ok("events", "--until", "1s")  # by now the first one listens
    for line in ("secret create s1 -", f"{CREATE} busybox", "node update --availability drain w1", "service rm web"):
        await docker.ok(*shlex.split(line), stdin="x")
    assert process.stdout is not None
    seen: list[str] = []
    async with asyncio.timeout(10):
        while "service remove web" not in seen:
            seen.append((await process.stdout.readline()).decode().strip())
    process.terminate()
    await process.wait()
    assert {"secret create s1", "service create web", "node update w1"} <= set(seen)


async def test_past_events(docker: DockerCli) -> None:
    await docker.ok("secret", "create", "s1", "-", stdin="x")
    await docker.ok(*shlex.split(f"{CREATE} busybox"))
    until = str(time.time() + 0.2)
    lines = await docker.ok(
        "events", "--since", "1h", "--until", until, "--filter", "type=secret", "--format", "{{.Action}}"
    )
    assert lines == "create"


STACK = """
version: "3.8"
services:
  web:
    image: busybox
    deploy:
      replicas: {replicas}
    ports: ["8080:80"]
    networks: [net]
    secrets: [s]
    configs: [c]
  db:
    image: busybox
    deploy:
      mode: global
networks:
  net:
secrets:
  s:
    file: ./secret
configs:
  c:
    file: ./config
"""


async def test_stack(docker: DockerCli) -> None:
    for name, text in (("stack.yaml", STACK.format(replicas=2)), ("secret", "hush"), ("config", "plain")):
        (docker.folder / name).write_text(text)
    deploy = "stack deploy --resolve-image never --detach=true -c stack.yaml app"
    made = (
        r"Creating network app_net\b",
        r"Creating secret app_s",
        r"Creating config app_c",
        r"Creating service app_web",
    )
    await play(
        docker,
        (
            step(deploy, *made),
            step("stack ls", r"^app +2"),
            step(
                "stack services app", r"app_web +replicated +2/2 +busybox:latest +\*:8080->80", r"app_db +global +2/2"
            ),
            step("stack ps app", r"app_web\.1 +busybox", rf"app_db\.{WORKER1}"),
            step("stack services --filter name=app_web -q app", r"^\w{12}$"),
        ),
    )
    (docker.folder / "stack.yaml").write_text(STACK.format(replicas=4))
    await play(
        docker,
        (
            step(deploy, r"Updating service app_web", "!Creating"),
            step("stack services app", r"app_web +replicated +4/4"),
            step(
                "stack rm app",
                *(
                    rf"Removing {thing}"
                    for thing in ("service app_web", "secret app_s", "config app_c", "network app_net")
                ),
            ),
            step("stack ls", r"!app"),
            step("network ls --filter type=custom -q", r"!\w"),
            step("secret ls -q", r"!\w"),
        ),
    )
