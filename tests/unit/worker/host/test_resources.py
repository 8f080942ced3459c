from common.model.service import DiscreteResourceSpec, GenericResource, NamedResourceSpec
from worker.host.resources import describe

INFO = {
    "Name": "h1",
    "NCPU": 4,
    "MemTotal": 8 << 30,
    "OSType": "linux",
    "Architecture": "x86_64",
    "ServerVersion": "26.1.5",
    "Labels": ["rack=7", "fast"],
    "Plugins": {"Volume": ["local"], "Network": ["null", "bridge"], "Authorization": None, "Log": ["json-file"]},
    "GenericResources": [
        {"NamedResourceSpec": {"Kind": "gpu", "Value": "u1"}},
        {"DiscreteResourceSpec": {"Kind": "ssd", "Value": 3}},
    ],
    "MemoryLimit": True,
    "PidsLimit": False,
    "Version": {"ApiVersion": "1.45"},
}


def test_a_host():
    found = describe(INFO, "1.0", ["no nftables"])
    assert (found.hostname, found.platform.os, found.platform.architecture) == ("h1", "linux", "x86_64")
    assert (found.resources.nano_cpus, found.resources.memory_bytes) == (4_000_000_000, 8 << 30)
    assert found.resources.generic_resources == (
        GenericResource(named_resource_spec=NamedResourceSpec(kind="gpu", value="u1")),
        GenericResource(discrete_resource_spec=DiscreteResourceSpec(kind="ssd", value=3)),
    )
    assert (found.engine.engine_version, found.engine.api_version) == ("26.1.5", "1.45")
    assert found.engine.labels == {"rack": "7", "fast": ""}
    assert [(plugin.type, plugin.name) for plugin in found.engine.plugins] == [
        ("Log", "json-file"),
        ("Network", "bridge"),
        ("Network", "null"),
        ("Volume", "local"),
    ]
    assert found.lacks == ("no nftables", "the kernel has no pids cgroup: limits of processes do not work")
    assert found.agent_version == "1.0"


def test_an_engine_that_says_little():
    assert describe({"Name": "h"}, "1.0").hostname == "h"
