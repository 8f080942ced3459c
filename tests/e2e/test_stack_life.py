"""The life of a stack on real engines: planned, started in its order, updated, its secrets rotated.

One cluster serves all tests of this file; each removes the stack that it made.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.ci import long
from tests.e2e.cluster import Cluster
from tests.lab.process import Result

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(170)]

FRONT = """\
services:
  web:
    image: web:lab
    environment: {MODE: slow}
    deploy: {replicas: 2, update_config: {monitor: 200ms, parallelism: 0}}
"""
# A database that is healthy after a while, a migration that runs once, and what needs both.
ORDERED = """\
services:
  app:
    image: web:lab
    environment: {RELEASE: "1"}
    depends_on:
      db: {condition: service_healthy}
      migrate: {condition: service_completed_successfully}
    deploy: {replicas: 2, update_config: {monitor: 200ms, parallelism: 0}}
  migrate:
    image: busybox:lab
    command: ["busybox", "sh", "-c", "sleep 4; echo migrated to 1"]
    depends_on: {db: {condition: service_healthy}}
    deploy: {restart_policy: {condition: none}, update_config: {monitor: 200ms}}
  db:
    image: web:lab
    environment: {WEB_START_DELAY_MS: "5000", RELEASE: "1"}
    healthcheck: {test: ["CMD", "/web", "check"], interval: 200ms, timeout: 1s, retries: 3, start_period: 30s}
    deploy: {update_config: {monitor: 200ms}}
"""
SWAPPED = """\
services:
  one: {{image: "web:lab", hostname: one, ports: ["{one}:80"], deploy: {{update_config: {{monitor: 200ms}}}}}}
  two: {{image: "web:lab", hostname: two, ports: ["{two}:80"], deploy: {{update_config: {{monitor: 200ms}}}}}}
"""
SECRETS = """\
services:
  web:
    image: web:lab
    environment: {GREETING: hello}
    secrets: [key, token]
    configs:
      - {source: page, target: /page}
    deploy: {replicas: 2, update_config: {monitor: 200ms, parallelism: 1}}
secrets:
  key: {file: ./key.txt}
  token: {environment: TOKEN}
configs:
  page:
    file: ./page.txt
    template_driver: golang
"""
# It takes its time to stop: for so long its hosts have its networks.
SLOW_TO_GO = """\
services:
  slow:
    image: web:lab
    environment: {WEB_IGNORE_TERM: "1"}
    stop_grace_period: 12s
    networks: [one, two]
    deploy: {mode: global}
networks: {one: {}, two: {}}
"""
CHANGED = """\
services:
  web:
    image: web:lab
    networks: [front, back]
    deploy: {mode: global}
networks: {front: {}, back: {}}
"""
PAGE = '{{ .Service.Name }} {{ env "GREETING" }} {{ secret "key" }} {{ .Task.Slot }}'


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def swarm() -> AsyncIterator[Cluster]:
    async with Cluster("life") as cluster:
        yield cluster


@pytest_asyncio.fixture(loop_scope="module", autouse=True)
async def clean(swarm: Cluster) -> AsyncIterator[None]:
    yield
    await swarm.swarm("stack", "rm", "shop")


@pytest.fixture
def file(swarm: Cluster) -> Path:
    return swarm.lab.workdir / "stack.yaml"


async def stack(swarm: Cluster, command: str, file: Path, *options: str, check: bool = True, **env: str) -> Result:
    words: tuple[str | Path, ...] = ("stack", command, "-c", file, "--resolve-image", "never", *options, "shop")
    host = swarm.manager_host
    return await host.run("swarm-manager", "-H", swarm.api, *words, check=check, env=env or None, timeout=90)


async def inside(swarm: Cluster, service: str, path: str) -> set[str]:
    """Read a file in every running container of a service."""
    read = set()
    for host in swarm.hosts:
        for container in await swarm.containers(host, everything=False):
            if container["Config"]["Labels"]["com.docker.swarm.service.name"] == service:
                read.add(await host.docker("exec", container["Id"], "busybox", "cat", path))
    return read


async def started(swarm: Cluster, service: str) -> list[str]:
    """Return when each container of a service was started, the engines' clock being one."""
    found = [c for host in swarm.hosts for c in await swarm.containers(host)]
    mine = [c for c in found if c["Config"]["Labels"]["com.docker.swarm.service.name"] == service]
    return sorted(c["State"]["StartedAt"] for c in mine)


async def named(swarm: Cluster, path: str) -> dict[str, str]:
    return {each["Spec"]["Name"]: each["ID"] for each in await swarm.get(f"/{path}")}


async def test_a_plan_says_what_a_deploy_does_and_changes_nothing(swarm: Cluster, file: Path) -> None:
    file.write_text(FRONT + "  old:\n    image: web:lab\n")
    planned = await stack(swarm, "plan", file, check=False)
    assert planned.returncode == 2
    assert "+ service shop_web: web:lab, 2 replicas" in planned.stdout
    assert planned.stdout.endswith("Plan: 3 to create, 0 to change, 0 to remove.\n")
    assert await swarm.get("/services") == []

    await stack(swarm, "deploy", file)
    assert (await stack(swarm, "plan", file)).stdout == "No changes: the stack is as the files say.\n"

    file.write_text(FRONT.replace("slow", "fast").replace("replicas: 2", "replicas: 3"))
    before = {task["ID"] for task in await swarm.tasks("shop_web")}
    planned = await stack(swarm, "deploy", file, "--dry-run", "--prune", check=False)
    assert planned.returncode == 2
    assert planned.stdout.splitlines() == [
        "- service shop_old: stops its tasks",
        "~ service shop_web: restarts its tasks",
        "    Mode.Replicated.Replicas: 2 → 3",
        '    TaskTemplate.ContainerSpec.Env.MODE: "slow" → "fast"',
        "Plan: 0 to create, 1 to change, 1 to remove.",
    ]
    assert {task["ID"] for task in await swarm.tasks("shop_web")} == before

    await stack(swarm, "deploy", file, "--prune")
    assert [service["Spec"]["Name"] for service in await swarm.get("/services")] == ["shop_web"]
    assert (await stack(swarm, "plan", file, "--prune")).returncode == 0


async def test_a_file_that_is_wrong_fails_the_plan(swarm: Cluster, file: Path) -> None:
    file.write_text(
        ORDERED.replace("  db:\n    image: web:lab\n", "  db:\n    image: web:lab\n    depends_on: [app]\n")
    )
    failed = await stack(swarm, "plan", file, check=False)
    assert failed.returncode == 1
    assert "depend on each other in a cycle: app → db → app" in failed.stderr


async def test_a_stack_starts_and_updates_in_dependency_order(swarm: Cluster, file: Path) -> None:
    file.write_text(ORDERED)
    await stack(swarm, "deploy", file, "--detach")
    listed = (await swarm.swarm("service", "ls")).stdout
    assert "0/2 (waits for shop_" in listed
    assert "shop_app waits for shop_" in (await swarm.swarm("service", "ps", "shop_app")).stderr
    await swarm.running("shop_app", 2)
    (migrated,) = await swarm.tasks("shop_migrate", desired="")
    assert migrated["Status"]["State"] == "complete"
    first = await in_order(swarm)

    text = file.read_text()
    file.write_text(text.replace('RELEASE: "1"', 'RELEASE: "2"').replace("migrated to 1", "migrated to 2"))
    deployed = await stack(swarm, "deploy", file)
    assert "waits for shop_db to be healthy" in deployed.stdout
    second = await in_order(swarm)
    assert second > first
    assert "waits for" not in (await swarm.swarm("service", "ls")).stdout


async def in_order(swarm: Cluster) -> str:
    """Return when the last of the newest containers was started; each service's after those that it depends on."""
    db, migrate, app = [(await started(swarm, f"shop_{name}")) for name in ("db", "migrate", "app")]
    assert db[-1] < migrate[-1] < app[-2] <= app[-1]
    return app[-1]


@long
async def test_running_services_are_kept_up_whatever_a_dependency_does(swarm: Cluster, file: Path) -> None:
    file.write_text(ORDERED)
    await stack(swarm, "deploy", file)
    await swarm.swarm("service", "scale", "--detach", "shop_db=0")
    await swarm.swarm("service", "update", "--detach", "--args", "/no/such", "shop_migrate", check=False)
    await swarm.swarm("service", "scale", "shop_app=4")
    task = (await swarm.tasks("shop_app"))[0]
    victim = task["Status"]["ContainerStatus"]["ContainerID"]
    node = next(name for name, node in (await swarm.nodes()).items() if node["ID"] == task["NodeID"])
    await next(host for host in swarm.hosts if host.name == node).docker("kill", victim)

    async def replaced() -> bool:
        tasks = await swarm.tasks("shop_app")
        ids = {task["Status"].get("ContainerStatus", {}).get("ContainerID") for task in tasks}
        return len(tasks) == 4 and victim not in ids and all(t["Status"]["State"] == "running" for t in tasks)

    await swarm.until(replaced, 30)


async def test_secrets_and_configs_rotate(swarm: Cluster, file: Path) -> None:
    folder = file.parent
    file.write_text(SECRETS)
    (folder / "key.txt").write_text("first-word")
    (folder / "page.txt").write_text(PAGE)
    await stack(swarm, "deploy", file, TOKEN="token-one")
    assert await inside(swarm, "shop_web", "/run/secrets/key") == {"first-word"}
    assert await inside(swarm, "shop_web", "/run/secrets/token") == {"token-one"}
    pages = {f"shop_web hello first-word {slot}" for slot in (1, 2)}
    assert await inside(swarm, "shop_web", "/page") == pages

    # A deploy with the same content restarts nothing; the plan knows, and never shows what it knows from.
    before = {task["ID"] for task in await swarm.tasks("shop_web")}
    assert (await stack(swarm, "plan", file, TOKEN="token-one")).returncode == 0
    await stack(swarm, "deploy", file, TOKEN="token-one")
    assert {task["ID"] for task in await swarm.tasks("shop_web")} == before

    (folder / "key.txt").write_text("second-word")
    planned = await stack(swarm, "plan", file, check=False, TOKEN="token-two")
    assert planned.returncode == 2
    assert planned.stdout.splitlines() == [
        "~ secret shop_key: new content",
        "~ secret shop_token: new content",
        "~ service shop_web: restarts its tasks for the new content of secret shop_key, secret shop_token",
        "Plan: 0 to create, 3 to change, 0 to remove.",
    ]
    await stack(swarm, "deploy", file, TOKEN="token-two")
    assert await inside(swarm, "shop_web", "/run/secrets/key") == {"second-word"}
    assert await inside(swarm, "shop_web", "/run/secrets/token") == {"token-two"}
    assert set(await named(swarm, "secrets")) == {"shop_key", "shop_key.v1", "shop_token", "shop_token.v1"}

    # From standard input, by name; the version before the last goes, as nothing can go back to it any more.
    updated = await swarm.swarm("secret", "update", "shop_key", "-", stdin="third-word")
    assert "shop_web" in updated.stdout or "converged" in updated.stdout
    assert await inside(swarm, "shop_web", "/run/secrets/key") == {"third-word"}
    assert await inside(swarm, "shop_web", "/page") == {page.replace("first", "third") for page in pages}

    async def gone() -> bool:
        return "shop_key.v1" not in await named(swarm, "secrets")

    await swarm.until(gone, 20)
    assert set(await named(swarm, "secrets")) == {"shop_key", "shop_key.v2", "shop_token"}
    again = await swarm.swarm("secret", "update", "shop_key", "-", stdin="third-word")
    assert again.stdout == "shop_key has this content already\n"

    await swarm.swarm("service", "rollback", "shop_web")
    assert await inside(swarm, "shop_web", "/run/secrets/key") == {"second-word"}
    shown = (await swarm.swarm("secret", "inspect", "shop_key", "shop_key.v2")).stdout
    assert not [word for word in ("first-word", "second-word", "third-word") if word in shown]


async def test_new_content_that_breaks_a_service_is_rolled_back(swarm: Cluster) -> None:
    await swarm.swarm("config", "create", "command", "-", stdin="exec /web")
    create = (
        "service",
        "create",
        "--name",
        "fragile",
        "--no-resolve-image",
        "--config",
        "source=command,target=/run.sh",
    )
    update = ("--update-monitor", "1s", "--update-failure-action", "rollback", "--rollback-monitor", "200ms")
    await swarm.swarm(*create, *update, "--replicas", "2", "web:lab", "busybox", "sh", "/run.sh")
    failed = await swarm.swarm("config", "update", "command", "-", stdin="exit 3", check=False)
    assert failed.returncode == 1
    assert "rolled back" in failed.stderr
    await swarm.running("fragile", 2)
    assert await inside(swarm, "fragile", "/run.sh") == {"exec /web"}
    await swarm.swarm("config", "update", "command", "-", stdin="exec /web again")
    assert await inside(swarm, "fragile", "/run.sh") == {"exec /web again"}
    await swarm.swarm("service", "rm", "fragile")
    await swarm.swarm("config", "rm", "command")

    async def nothing() -> bool:
        return not await named(swarm, "configs")

    await swarm.until(nothing, 20)


async def test_a_changed_stack_has_networks_while_old_ones_are_removed(swarm: Cluster, file: Path) -> None:
    file.write_text(SLOW_TO_GO)
    await stack(swarm, "deploy", file)
    before = {name: worker.output() for name, worker in swarm.workers.items()}
    await swarm.swarm("stack", "rm", "--detach", "shop")
    file.write_text(CHANGED)
    await stack(swarm, "deploy", file, "--detach")
    await swarm.running("shop_web", len(swarm.hosts), 8)
    assert len([task for task in await swarm.tasks(desired="") if task["Status"]["State"] == "running"]) == 6
    for host in swarm.hosts:
        ranges = await host.docker("network", "ls", "--filter", "name=orc-", "--format", "{{.Name}}")
        assert {name.split("-")[1].rsplit("_")[-1] for name in ranges.split()} >= {"one", "two", "front", "back"}
    for name, worker in swarm.workers.items():
        assert "overlap" not in worker.output().removeprefix(before[name])


async def test_two_services_swap_their_published_ports_in_one_deploy(swarm: Cluster, file: Path) -> None:
    """While the manager gives out addresses and ports, which makes new versions of the services."""
    asked = swarm.hosts[-1]
    for one, two in ((7001, 7002), (7002, 7001), (7001, 7002)):
        file.write_text(SWAPPED.format(one=one, two=two))
        assert (await stack(swarm, "deploy", file)).returncode == 0
        for name, port in (("one", one), ("two", two)):

            async def answers(name: str = name, port: int = port) -> bool:
                got = await asked.run("curl", "-sf", "-m2", f"http://{swarm.manager_host.ip}:{port}/", check=False)
                return f'"host": "{name}"' in got.stdout

            await swarm.until(answers, 5)
