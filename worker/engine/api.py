"""The Docker Engine API's JSON, read: versions, containers, images, events. Pure."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from typing import Any

from common.errors import FailedPrecondition
from common.model.service import PortConfig
from common.spec.extensions import CPUS_LABEL, MEMORY_LABEL, amount_of_label
from common.spec.volumes import is_anonymous
from worker.interfaces.engine import (
    JSON,
    LABEL_AGENT,
    LABEL_TASK_ID,
    WATCHED_ACTIONS,
    Container,
    ContainerEvent,
    ContainerUsage,
    EngineVolume,
    Image,
    Phase,
)

OLDEST_API = (1, 41)
NEWEST_API = (1, 47)
# From this version on one call creates a container with several networks.
SEVERAL_NETWORKS_API = (1, 44)

# Not SIGHUP, SIGUSR1 and the like, by which people make programs reload: they end nothing.
_DEADLY_SIGNALS = frozenset({2, 3, 9, 15})
_LOADED = re.compile(r"Loaded image ID: (sha256:[0-9a-f]{64})")
_REFERENCE = re.compile(r"(?P<name>.+?)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>[\w+.-]+:[0-9a-fA-F]{32,}))?")


def parse_version(text: str) -> tuple[int, int]:
    """Read an API version as `1.45`."""
    major, _, minor = text.partition(".")
    return int(major), int(minor)


def negotiate(version: Mapping[str, Any]) -> tuple[int, int]:
    """Choose the API version to speak from the engine's answer to /version.

    Raises:
        FailedPrecondition: the engine is too old.

    """
    newest = parse_version(version["ApiVersion"])
    oldest = parse_version(version.get("MinAPIVersion") or "1.12")
    if newest < OLDEST_API:
        raise FailedPrecondition(
            f"this engine is Docker {version.get('Version', '?')} with API {version['ApiVersion']}: "
            f"upgrade it to Docker 20.10 (API {OLDEST_API[0]}.{OLDEST_API[1]}) or later"
        )
    return max(min(newest, NEWEST_API), oldest)


def read_volume(answer: Mapping[str, Any]) -> EngineVolume:
    """Read a volume from the answers to GET /volumes and /volumes/{name}."""
    return EngineVolume(
        name=answer["Name"],
        mountpoint=answer.get("Mountpoint") or "",
        driver=answer.get("Driver") or "local",
        scope=answer.get("Scope") or "local",
        options=answer.get("Options") or {},
        labels=answer.get("Labels") or {},
    )


def read_container(answer: Mapping[str, Any]) -> Container:
    """Read the answer to GET /containers/{id}/json."""
    state = answer["State"]
    networks = answer.get("NetworkSettings", {}).get("Networks") or {}
    check = state.get("Health") or {}
    health = check.get("Status", "")
    bad = [probe.get("Output", "") for probe in check.get("Log") or () if probe.get("ExitCode")]
    labels = answer["Config"].get("Labels") or {}
    memory = (answer.get("HostConfig") or {}).get("MemoryReservation") or 0
    return Container(
        id=answer["Id"],
        task_id=labels.get(LABEL_TASK_ID, ""),
        phase=_phase(state["Status"]),
        exit_code=state.get("ExitCode", 0),
        error=state.get("Error", ""),
        oom_killed=state.get("OOMKilled", False),
        health="" if health == "none" else health,
        health_said=bad[-1] if bad else "",
        pid=state.get("Pid", 0),
        addresses={name: address for name, net in networks.items() if (address := _address(net))},
        addresses6={name: address for name, net in networks.items() if (address := _address6(net))},
        ports=read_ports(answer.get("NetworkSettings", {}).get("Ports") or {}),
        name=answer.get("Name", "").removeprefix("/"),
        hostname=answer["Config"].get("Hostname", ""),
        resolv_conf=answer.get("ResolvConfPath", ""),
        mounts=frozenset(mount.get("Destination", "") for mount in answer.get("Mounts") or ()),
        agent=labels.get(LABEL_AGENT, ""),
        reserved_cpus=amount_of_label(labels, CPUS_LABEL),
        reserved_memory=amount_of_label(labels, MEMORY_LABEL) or memory,
        anonymous_volumes=_anonymous_volumes(answer),
    )


def read_summary(entry: Mapping[str, Any]) -> Container:
    """Read an entry of GET /containers/json."""
    return Container(
        id=entry["Id"],
        task_id=(entry.get("Labels") or {}).get(LABEL_TASK_ID, ""),
        phase=_phase(entry["State"]),
        addresses={},
        agent=(entry.get("Labels") or {}).get(LABEL_AGENT, ""),
        anonymous_volumes=_anonymous_volumes(entry),
    )


def _anonymous_volumes(answer: Mapping[str, Any]) -> tuple[str, ...]:
    volumes = (mount.get("Name") or "" for mount in answer.get("Mounts") or () if mount.get("Type") == "volume")
    return tuple(filter(is_anonymous, volumes))


def read_usage(stats: Mapping[str, Any]) -> ContainerUsage:
    """Read the answer to GET /containers/{id}/stats; memory is without the cache, as `docker stats` shows it."""
    memory = stats.get("memory_stats") or {}
    details = memory.get("stats") or {}
    cache = details.get("inactive_file", details.get("total_inactive_file", 0))
    cpu = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage", 0)
    return ContainerUsage(cpu=cpu / 1e9, memory=max(0, memory.get("usage", 0) - cache))


def _address(network: Mapping[str, Any]) -> str:
    """Return the address that a container has in a network, or, before it runs, will have."""
    return str(network.get("IPAddress") or (network.get("IPAMConfig") or {}).get("IPv4Address") or "")


def _address6(network: Mapping[str, Any]) -> str:
    return str(network.get("GlobalIPv6Address") or (network.get("IPAMConfig") or {}).get("IPv6Address") or "")


def _phase(status: str) -> Phase:
    return {"created": Phase.CREATED, "running": Phase.RUNNING, "paused": Phase.RUNNING}.get(status, Phase.EXITED)


def read_ports(bindings: Mapping[str, Any]) -> tuple[PortConfig, ...]:
    """Read which host ports the engine bound; IPv4 and IPv6 bindings of one port are one."""
    found: dict[tuple[str, int, int], PortConfig] = {}
    for target, hosts in bindings.items():
        number, _, protocol = target.partition("/")
        for host in hosts or ():
            if not host.get("HostPort"):  # only exposed, as in a routed network
                continue
            port = PortConfig(
                protocol=protocol,
                target_port=int(number),
                published_port=int(host["HostPort"]),
                publish_mode="host",
                host_ip="" if host["HostIp"] in ("0.0.0.0", "::") else host["HostIp"],  # noqa: S104 - reads, binds not
            )
            found.setdefault((protocol, port.target_port, port.published_port), port)
    return tuple(found.values())


def read_event(event: Mapping[str, Any], actions: Collection[str] = WATCHED_ACTIONS) -> ContainerEvent | None:
    """Read an event; None when its action is not one of `actions`."""
    attributes = event.get("Actor", {}).get("Attributes", {})
    task_id = attributes.get(LABEL_TASK_ID, "")
    action, _, detail = str(event.get("Action", "")).partition(": ")
    if action not in actions:
        return None
    sent = int(attributes["signal"]) if action == "kill" and attributes.get("signal", "").isdecimal() else 0
    return ContainerEvent(
        container_id=event["Actor"]["ID"],
        task_id=task_id,
        action=action,
        exit_code=int(attributes.get("exitCode", "0")) if action == "die" else 0,
        signal=sent if sent in _DEADLY_SIGNALS else 0,
        health=detail,
        agent=attributes.get(LABEL_AGENT, ""),
    )


def read_image(answer: Mapping[str, Any]) -> Image:
    """Read the answer to GET /images/{name}/json."""
    return Image(
        id=answer["Id"],
        repo_digests=tuple(answer.get("RepoDigests") or ()),
        size=answer.get("Size") or 0,
        layers=tuple((answer.get("RootFS") or {}).get("Layers") or ()),
        names=tuple(answer.get("RepoTags") or ()),
    )


def parse_loaded_id(message: Mapping[str, Any]) -> str:
    """Return the id of the image that a message of POST /images/load tells of, empty if it does not."""
    found = _LOADED.match(str(message.get("stream", "")))
    return found[1] if found else ""


def has_containerd_store(info: Mapping[str, Any]) -> bool:
    """Whether an engine keeps its images in containerd, as its answer to GET /info tells."""
    return ["driver-type", "io.containerd.snapshotter.v1"] in (info.get("DriverStatus") or ())


def start_error(message: str) -> str:
    """Return the error of a container that an engine does not start, with what to do where its words hide that."""
    gone = "Docker's firewall rules are gone from this host, restart its engine: "
    return f"starting container failed: {gone if 'No chain/target/match by that name' in message else ''}{message}"


def split_reference(reference: str) -> tuple[str, str]:
    """Split an image reference into what `fromImage` and `tag` of a pull are: a digest goes before a tag."""
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        return reference, "latest"
    return found["name"], found["digest"] or found["tag"] or "latest"


def registry_header(auth: str) -> dict[str, str]:
    """Make the header that carries registry credentials (JSON text) to the engine; none for none."""
    return {"X-Registry-Auth": base64.urlsafe_b64encode(auth.encode()).decode()} if auth else {}


def label_filters(labels: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in labels.items()]


def first_network_only(body: JSON) -> tuple[JSON, list[tuple[str, JSON]]]:
    """Split a create body for an old engine: the body with one network, and the others to connect afterwards."""
    endpoints: dict[str, JSON] = body.get("NetworkingConfig", {}).get("EndpointsConfig", {})
    (first, *rest) = endpoints.items() if endpoints else (None,)
    if first is None or not rest:
        return body, []
    return {**body, "NetworkingConfig": {"EndpointsConfig": dict([first])}}, rest
