"""Our conversion against what a real `docker stack deploy` leaves in a real engine, field by field."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from common.model.secret import ConfigSpec, SecretSpec
from common.model.service import RestartPolicy, ServiceSpec, UpdateConfig
from manager.cli.compose import Config, Stack, convert
from manager.domain.references import with_ids
from tests.compose_corpus import Case, cases, docker_environment, load_case
from tests.e2e.ci import long
from tests.lab import Host, plain_engine

CASES = (
    "same/booleans",
    "same/commands",
    "same/container_settings",
    "same/credential_config",
    "same/deploy_everything",
    "same/dollars_in_defaults",
    "same/environment_map",
    "same/external_resources",
    "same/healthchecks",
    "same/jobs",
    "same/labels",
    "same/named_resources",
    "same/networks",
    "same/ports_long",
    "same/restart",
    "same/sizes",
    "same/start_interval",
    "same/volumes_long",
    "same/volumes_short",
    "same/web_and_database",
    "merged/mappings",
    "merged/resources",
)
STACK = "shop"
NAMESPACE = f"com.docker.stack.namespace={STACK}"

# What the engine itself drops from a mount.
DROPPED = {"Consistency"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine() -> AsyncIterator[Host]:
    async with plain_engine() as host:
        await host.docker("swarm", "init", "--advertise-addr", host.ip)
        yield host


@long
@pytest.mark.timeout(120)
@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("name", CASES)
async def test_a_stack_is_what_docker_makes_of_it(engine: Host, name: str, tmp_path: Path) -> None:
    found = next(case for case in cases("same", "merged") if case.name == name)
    case = copied(found, Path(engine.folder) / name.replace("/", "-"))
    config = load_case(case)
    files = await make_what_it_needs(engine, config)
    stack = convert(config, STACK, files.__getitem__)
    try:
        await deploy(engine, case)
        assert await engine_services(engine) == await expected_services(engine, stack)
        assert await engine_files(engine) == expected_files(stack)
        assert await engine_networks(engine) == expected_networks(stack)
    finally:
        await removed(engine)


def copied(case: Case, folder: Path) -> Case:
    """Copy a case to where files that it lacks may be made."""
    shutil.copytree(case.directory, folder, dirs_exist_ok=True)
    return Case(case.name, tuple(folder / path.name for path in case.files))


async def make_what_it_needs(host: Host, config: Config) -> dict[str, bytes]:
    """Make the external objects and the files, on the host, that a case refers to; return the files by their paths."""
    files: dict[str, bytes] = {}
    for kind, section in (("secret", config.secrets), ("config", config.configs)):
        for entry in section.values():
            if entry.get("external"):
                await host.run("docker", kind, "create", entry["name"], "/etc/hostname", check=False)
            else:
                path = entry["file"]
                files[path] = f"content of {path}".encode()
                await host.run("sh", "-c", 'printf %s "$1" >"$2"', "sh", files[path].decode(), path)
    for entry in config.networks.values():
        if entry.get("external"):
            await host.run("docker", "network", "create", "-d", "overlay", entry["name"], check=False)
    return files


async def deploy(host: Host, case: Case) -> None:
    files = [argument for path in case.files for argument in ("-c", str(path))]
    options = ("--resolve-image", "never", "--detach=true")
    await host.run("docker", "stack", "deploy", *options, *files, STACK, env=docker_environment(case))


async def removed(host: Host) -> None:
    """Have the engine remove the stack, and wait until nothing of it is left.

    It refuses a network that a task still has which it was told to stop just now: asked again, it does it.
    """
    while (result := await host.run("docker", "stack", "rm", STACK, check=False)).returncode:
        assert "is in use by task" in result.stderr, result.stderr
        await asyncio.sleep(0.1)
    while any(
        [await host.docker(kind, "ls", "-q", "--filter", f"label={NAMESPACE}") for kind in ("service", "network")]
    ):
        await asyncio.sleep(0.1)  # another program's state, which it does not announce


async def listed(host: Host, kind: str) -> list[dict[str, Any]]:
    ids = (await host.docker(kind, "ls", "-q", "--filter", f"label={NAMESPACE}")).split()
    return json.loads(await host.docker(kind, "inspect", *ids)) if ids else []


async def ids_by_name(host: Host, kind: str) -> dict[str, str]:
    options = ("--no-trunc",) if kind == "network" else ()
    lines = (await host.docker(kind, "ls", *options, "--format", "{{.Name}} {{.ID}}")).splitlines()
    return dict(line.split() for line in lines)


async def engine_services(host: Host) -> dict[str, Any]:
    specs = [service["Spec"] for service in await listed(host, "service")]
    return {spec["Name"]: comparable(spec) for spec in specs}


async def expected_services(host: Host, stack: Stack) -> dict[str, Any]:
    secrets, configs, networks = [await ids_by_name(host, kind) for kind in ("secret", "config", "network")]
    expected = {}
    for spec in stack.services.values():
        tree = explicit(with_ids(spec, secrets, configs))
        for attachment in tree["TaskTemplate"].get("Networks", []):
            attachment["Target"] = networks[attachment["Target"]]
        expected[spec.name] = comparable(tree)
    return expected


def explicit(spec: ServiceSpec) -> dict[str, Any]:
    """Write a specification with the defaults that the engine fills in."""
    tree: dict[str, Any] = json.loads(msgspec.json.encode(spec))
    task = tree["TaskTemplate"]
    container = task["ContainerSpec"]
    task.setdefault("Runtime", "container")
    task["RestartPolicy"] = {"Delay": 5 * 10**9, **named(spec.task_template.restart_policy or RestartPolicy())}
    container.setdefault("StopGracePeriod", 10 * 10**9)
    container.setdefault("Isolation", "default")
    mode = tree.setdefault("Mode", {})
    if mode in ({}, {"Replicated": {}}):
        mode["Replicated"] = {"Replicas": 1}
    if "ReplicatedJob" in mode:
        mode["ReplicatedJob"] = {"MaxConcurrent": 1, "TotalCompletions": 1, **mode["ReplicatedJob"]}
    for key, config in (("UpdateConfig", spec.update_config), ("RollbackConfig", spec.rollback_config)):
        tree[key] = named(config or UpdateConfig())
    for port in tree.get("EndpointSpec", {}).get("Ports", []):
        port.update({"Protocol": port.get("Protocol", "tcp"), "PublishMode": port.get("PublishMode", "ingress")})
    for mount in container.get("Mounts", []):
        mount.setdefault("Type", "volume")
    for reference in (*container.get("Secrets", []), *container.get("Configs", [])):
        if "File" in reference:
            reference["File"] = {"UID": "0", "GID": "0", "Mode": 0o444, **reference["File"]}
    tree["EndpointSpec"] = {"Mode": "vip", **tree.get("EndpointSpec", {})}
    return tree


def named(value: msgspec.Struct) -> dict[str, Any]:
    """Write every field of a struct, defaults included."""
    fields = {field.encode_name: getattr(value, field.name) for field in msgspec.structs.fields(value)}
    return {name: content for name, content in fields.items() if content is not None}


def comparable(tree: dict[str, Any]) -> Any:
    """Drop what is nothing, and the order of what has none."""
    attachments = tree["TaskTemplate"].get("Networks") or []
    attachments.sort(key=lambda attachment: attachment["Target"])
    return pruned(tree)


def pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: item for key, item in _items(value) if item not in (None, "", 0, False, [], {})}
    return [pruned(item) for item in value] if isinstance(value, list) else value


def _items(value: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((key, pruned(item)) for key, item in value.items() if key not in DROPPED)


async def engine_files(host: Host) -> dict[str, Any]:
    both = [*await listed(host, "secret"), *await listed(host, "config")]
    return {entry["Spec"]["Name"]: pruned({**entry["Spec"], "Data": ""}) for entry in both}


def expected_files(stack: Stack) -> dict[str, Any]:
    specs: list[SecretSpec | ConfigSpec] = [*stack.secrets.values(), *stack.configs.values()]
    return {spec.name: pruned({**json.loads(msgspec.json.encode(spec)), "Data": ""}) for spec in specs}


async def engine_networks(host: Host) -> dict[str, Any]:
    return {
        network["Name"]: (
            network["Driver"],
            network["Labels"],
            network["Internal"],
            network["Attachable"],
            network["Scope"],
        )
        for network in await listed(host, "network")
    }


def expected_networks(stack: Stack) -> dict[str, Any]:
    return {
        name: (spec.driver.name, spec.labels, spec.internal, spec.attachable, spec.scope)
        for name, spec in stack.networks.items()
    }
