"""The keys of compose files 3.0 to 3.13, in the order in which `docker stack config` writes them.

One table serves checking, normalising, merging and writing; `since` is the minor version that brought a key and `keep`
marks the keys whose zero means something else than their absence.
"""

from __future__ import annotations

import re
from dataclasses import replace

from manager.cli.compose.objects import Attachment, Dependencies, Forms, Key, Keyed, Logging, Named, Object, Short
from manager.cli.compose.rules import Anything, Boolean, Number, Rule, Text
from manager.cli.compose.schema_parts import COUNT, DEPLOY, DEVICES, ENGINE_KEYS, FLAG, KEPT_TIME, LABELS, TEXT, TEXTS
from manager.cli.compose.shapes import Command, HealthTest, HostPairs, Items, Options, Pairs
from manager.cli.compose.short_syntax import (
    MAX_PORT,
    MODES,
    PROPAGATIONS,
    PROTOCOLS,
    Ports,
    ServiceVolume,
    port_order,
    same_port,
)

NEWEST_MINOR = 13
_EXTENSIONS_EVERYWHERE = 7

_CONTENT = {"content": "a secret is not for this file: name a file with `file`, or a variable with `environment`"}
_LIMITS = "set limits under deploy.resources instead"
_IN_IMAGE = "let the image's entrypoint do it"
FORBIDDEN_KEYS = {
    "volume_driver": "give the driver to a volume in the top-level volumes",
    "volumes_from": "name a volume in the top-level volumes and mount it in each service",
    **dict.fromkeys(("cpu_count", "cpu_percent", "cpu_period", "cpu_quota"), _LIMITS),
    "cpus": _LIMITS,
    "mem_limit": _LIMITS,
    "pids_limit": _LIMITS,
    "mem_reservation": _LIMITS,
    # Of the Compose Specification, for one host: what they ask for is said otherwise here, or has no meaning.
    "scale": "write deploy.replicas",
    **{key: f"write deploy.{key}" for key in DEPLOY.keys if key != "labels"},
    "annotations": "write labels",
    "label_file": "write labels",
    "post_start": _IN_IMAGE,
    "pre_stop": _IN_IMAGE,
    "platform": "write a constraint on node.platform.os or node.platform.arch under deploy.placement",
}

BUILD = Forms(
    "a path or a mapping",
    scalar=Short(Text(), lambda path: {"context": path}),
    mapping=Object(
        {
            "context": TEXT,
            "dockerfile": TEXT,
            "args": Key(Pairs(unset=True)),
            "labels": Key(Pairs(), since=3),
            "cache_from": Key(Items(), since=2),
            "extra_hosts": Key(HostPairs()),
            "network": Key(Text(), since=4),
            "target": Key(Text(), since=4),
        },
        lenient=True,
    ),
)


def _file_reference() -> Rule:
    """Rule of a service's `secrets` and `configs`."""
    long = Object(
        {
            "source": TEXT,
            "target": TEXT,
            "uid": TEXT,
            "gid": TEXT,
            "mode": Key(Number(lowest=0, zero_wins=True), keep=True),
        },
        lenient=True,
        required=("source",),
    )
    item = Forms("a name or a mapping", scalar=Short(Text(), lambda name: {"source": name}), mapping=long)
    return Keyed(
        Items(item, unique=False), lambda entry: entry.get("source", ""), lambda entry: entry.get("source", "")
    )


HEALTHCHECK = Object(
    {
        "test": Key(HealthTest()),
        "timeout": KEPT_TIME,
        "interval": KEPT_TIME,
        "retries": COUNT,
        "start_period": replace(KEPT_TIME, since=4),
        "start_interval": replace(KEPT_TIME, since=12),
        "disable": FLAG,
    }
)

LOGGING = Logging({"driver": TEXT, "options": Key(Options(unset=True))})

ATTACHMENT = Attachment(
    {
        "aliases": TEXTS,
        "driver_opts": Key(Options(), since=13),
        "ipv4_address": TEXT,
        "ipv6_address": TEXT,
    }
)
SERVICE_NETWORKS = Forms(
    "a list of names or a mapping",
    items=Short(Items(), lambda names: dict.fromkeys(sorted(name for name in names if name))),
    mapping=Named(ATTACHMENT, nullable=True),
)

PORT = Object(
    {
        "mode": Key(Text(choices=MODES)),
        "target": Key(Number(lowest=1, highest=MAX_PORT)),
        "published": Key(Number(lowest=0, highest=MAX_PORT)),
        "protocol": Key(Text(choices=PROTOCOLS)),
        "host_ip": TEXT,
    },
    required=("target",),
)

BIND_OPTIONS = {
    "propagation": Key(Text(choices=PROPAGATIONS)),
    "create_host_path": FLAG,
    "recursive": Key(Text(choices=("enabled", "disabled", "writable", "readonly"))),
}
VOLUME = Object(
    {
        "type": Key(Text(choices=("volume", "bind", "tmpfs", "npipe"))),
        "source": TEXT,
        "target": TEXT,
        "read_only": FLAG,
        "consistency": TEXT,
        "bind": Key(Object(BIND_OPTIONS, lenient=True), keep=True),
        "volume": Key(Object({"nocopy": FLAG, "subpath": TEXT}, lenient=True), keep=True),
        "tmpfs": Key(
            Object({"size": Key(Number(lowest=0)), "mode": Key(Number(lowest=0))}, lenient=True), since=6, keep=True
        ),
    },
    required=("type", "target"),
    extensible=_EXTENSIONS_EVERYWHERE,
)

ULIMIT = Forms(
    "a whole number, or a mapping with soft and hard",
    scalar=Number(),
    mapping=Object(
        {"soft": Key(Number(), keep=True), "hard": Key(Number(), keep=True)}, required=("soft", "hard"), whole=True
    ),
)

_CONDITIONS = ("service_started", "service_healthy", "service_completed_successfully")
DEPENDENCY = Object(
    {"condition": Key(Text(choices=_CONDITIONS)), "restart": FLAG, "required": Key(Boolean(), keep=True)}
)
DEPENDS_ON = Dependencies("a list of services or a mapping", items=Items(), mapping=Named(DEPENDENCY))

EXTENDS = Forms(
    "the name of a service, or a mapping",
    scalar=Short(Text(), lambda name: {"service": name}),
    mapping=Object({"service": TEXT, "file": TEXT}, required=("service",)),
)
ENV_FILE = Forms(
    "the path of a file, or a mapping",
    scalar=Text(),
    mapping=Object(
        {"path": TEXT, "required": Key(Boolean(), keep=True), "format": Key(Text(choices=("raw",)))}, required=("path",)
    ),
)

SERVICE = Object(
    {
        "attach": Key(Boolean(), keep=True),
        "build": Key(BUILD),
        "cap_add": TEXTS,
        "cap_drop": TEXTS,
        "cgroupns_mode": Key(Text(), since=9),
        "cgroup_parent": TEXT,
        "command": Key(Command()),
        "configs": Key(_file_reference(), since=3),
        "container_name": TEXT,
        "credential_spec": Key(Object({"config": Key(Text(), since=8), "file": TEXT, "registry": TEXT}), since=3),
        "depends_on": Key(DEPENDS_ON),
        "deploy": Key(DEPLOY),
        "develop": Key(Anything()),
        "devices": Key(DEVICES),
        "dns": Key(Items(single=True)),
        "dns_search": Key(Items(single=True)),
        "domainname": TEXT,
        "entrypoint": Key(Command()),
        "environment": Key(Pairs(unset=True)),
        "env_file": Key(Items(ENV_FILE, single=True)),
        "expose": Key(Items(numbers=True)),
        "extends": Key(EXTENDS),
        "external_links": TEXTS,
        "extra_hosts": Key(HostPairs()),
        "group_add": Key(Items(numbers=True), since=13),
        "hostname": TEXT,
        "healthcheck": Key(HEALTHCHECK, keep=True),
        "image": TEXT,
        "init": Key(Boolean(), since=7, keep=True),
        "ipc": TEXT,
        "isolation": Key(Text(), since=5),
        "labels": LABELS,
        "links": TEXTS,
        "logging": Key(LOGGING, keep=True),
        "mac_address": TEXT,
        "network_mode": TEXT,
        "networks": Key(SERVICE_NETWORKS),
        "pid": TEXT,
        "ports": Key(Keyed(Ports(PORT), same_port, port_order)),
        "privileged": FLAG,
        "profiles": TEXTS,
        "pull_policy": TEXT,
        "read_only": FLAG,
        "restart": TEXT,
        "secrets": Key(_file_reference(), since=1),
        "security_opt": TEXTS,
        "shm_size": Key(Text()),
        "stdin_open": FLAG,
        "stop_grace_period": KEPT_TIME,
        "stop_signal": TEXT,
        "sysctls": Key(Pairs()),
        "tmpfs": Key(Items(single=True)),
        "tty": FLAG,
        "ulimits": Key(Named(ULIMIT, re.compile("[a-z]+"), "lower-case letters")),
        "user": TEXT,
        "userns_mode": TEXT,
        "volumes": Key(
            Keyed(
                Items(ServiceVolume(VOLUME)), lambda entry: entry.get("target"), lambda entry: entry.get("target", "")
            )
        ),
        "working_dir": TEXT,
        "oom_score_adj": Key(Number(), since=13),
        **ENGINE_KEYS,
    },
    extensible=_EXTENSIONS_EVERYWHERE,
    forbidden=FORBIDDEN_KEYS,
)

# `external: {name: x}` is the old way to write `external: true` and `name: x`; resolve.py turns it into that.
EXTERNAL = Key(
    Forms(
        "true, false or a mapping with a name",
        scalar=Boolean(),
        mapping=Object({"name": Key(Text(), keep=True)}, whole=True),
    )
)

NETWORK = Object(
    {
        "name": Key(Text(), since=5),
        "driver": TEXT,
        "driver_opts": Key(Options()),
        "ipam": Key(Object({"driver": TEXT, "config": Key(Items(Object({"subnet": TEXT}), unique=False))})),
        "external": EXTERNAL,
        "internal": FLAG,
        "attachable": Key(Boolean(), since=2),
        "enable_ipv6": FLAG,
        "labels": LABELS,
    },
    extensible=_EXTENSIONS_EVERYWHERE,
    empty=True,
    whole=True,
)

VOLUME_RESOURCE = Object(
    {
        "name": Key(Text(), since=4),
        "driver": TEXT,
        "driver_opts": Key(Options()),
        "external": EXTERNAL,
        "labels": LABELS,
    },
    extensible=_EXTENSIONS_EVERYWHERE,
    empty=True,
    whole=True,
)

SECRET = Object(
    {
        "name": Key(Text(), since=5),
        "file": TEXT,
        "environment": TEXT,
        "external": EXTERNAL,
        "labels": LABELS,
        "driver": Key(Text(), since=8),
        "driver_opts": Key(Options(), since=8),
        "template_driver": Key(Text(), since=8),
    },
    extensible=_EXTENSIONS_EVERYWHERE,
    forbidden=_CONTENT,
    whole=True,
)

CONFIG = Object(
    {
        "name": Key(Text(), since=5),
        "file": TEXT,
        "environment": TEXT,
        "content": TEXT,
        "external": EXTERNAL,
        "labels": LABELS,
        "template_driver": Key(Text(), since=8),
    },
    extensible=_EXTENSIONS_EVERYWHERE,
    whole=True,
)

INCLUDE = Forms(
    "the path of a compose file, or a mapping",
    scalar=Short(Text(), lambda path: {"path": [path]}),
    mapping=Object(
        {"path": Key(Items(single=True)), "project_directory": TEXT, "env_file": Key(Items(single=True))},
        required=("path",),
    ),
)

# The rule of one entry of each top-level section.
ENTRIES = {
    "services": SERVICE,
    "networks": NETWORK,
    "volumes": VOLUME_RESOURCE,
    "secrets": SECRET,
    "configs": CONFIG,
}

ROOT = Object(
    {
        "version": TEXT,
        "name": TEXT,  # of Compose's project: the stack's is given on the command line
        "include": Key(Items(INCLUDE, unique=False)),
        "services": Key(Named(SERVICE), keep=True),
        "networks": Key(Named(NETWORK, lenient=True)),
        "volumes": Key(Named(VOLUME_RESOURCE)),
        "secrets": Key(Named(SECRET), since=1),
        "configs": Key(Named(CONFIG), since=3),
    },
    extensible=4,
)
