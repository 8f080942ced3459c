import base64
import json
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from common.model import TaskState
from common.model.service import Endpoint, VirtualIP
from common.model.update import UpdateState, UpdateStatus
from manager.store.transaction import Transaction
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster

SPEC: dict[str, Any] = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": "busybox"}}}
TASK: dict[str, Any] = SPEC["TaskTemplate"]


def spec(
    name: str = "web", container: dict[str, Any] | None = None, template: dict[str, Any] | None = None, **more: Any
) -> Any:
    container_spec = {"Image": "busybox", **(container or {})}
    return {"Name": name, "TaskTemplate": {"ContainerSpec": container_spec, **(template or {})}, **more}


async def version(client: Client, name: str = "web") -> int:
    return await client.version(f"/services/{name}")


async def update(client: Client, body: Any, name: str = "web", query: str = "") -> tuple[int, Any]:
    return await client.ask("POST", f"/services/{name}/update?version={await version(client, name)}{query}", body)


async def test_create_and_inspect_as_the_engine_answers(client: Client) -> None:
    service_id = await client.make("/v1.45/services/create", SPEC)
    service = await client.get("/services/web")
    assert service["ID"] == service_id
    assert service["Spec"] == {
        "Name": "web",
        "Labels": {},
        "TaskTemplate": {
            "ContainerSpec": {"Image": "busybox", "Isolation": "default"},
            "ForceUpdate": 0,
            "Runtime": "container",
        },
        "Mode": {"Replicated": {"Replicas": 1}},
    }


async def test_defaults_on_demand(client: Client) -> None:
    await client.make("/services/create", SPEC)
    shown = (await client.get("/services/web?insertDefaults=true"))["Spec"]
    config = {
        "Parallelism": 1,
        "FailureAction": "pause",
        "Monitor": 5000000000,
        "MaxFailureRatio": 0,
        "Order": "stop-first",
    }
    assert shown["TaskTemplate"] == {
        "ContainerSpec": {
            "Image": "busybox",
            "StopGracePeriod": 10000000000,
            "DNSConfig": {},
            "Isolation": "default",
        },
        "Resources": {},
        "RestartPolicy": {"Condition": "any", "Delay": 5000000000, "MaxAttempts": 0},
        "Placement": {},
        "ForceUpdate": 0,
        "Runtime": "container",
    }
    assert (shown["UpdateConfig"], shown["RollbackConfig"]) == (config, config)


async def test_a_full_spec_comes_back_as_it_was_given(client: Client) -> None:
    network = await client.make("/networks/create", {"Name": "on1", "Driver": "overlay"})
    secret = await client.make("/secrets/create", {"Name": "s1", "Data": "aGVsbG8="})
    config = await client.make("/configs/create", {"Name": "c1", "Data": "aGVsbG8="})
    target = {"UID": "0", "GID": "0", "Mode": 292}
    given = {
        "Name": "web",
        "Labels": {"a": "b"},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": "busybox:1@sha256:" + "ab" * 32,
                "Labels": {"c": "d"},
                "Command": ["sh"],
                "Args": ["-c", "true"],
                "Hostname": "h",
                "Env": ["A=b"],
                "Dir": "/d",
                "User": "u",
                "Groups": ["g"],
                "Privileges": {
                    "CredentialSpec": None,
                    "SELinuxContext": {"Disable": True, "User": "", "Role": "", "Type": "", "Level": ""},
                    "Seccomp": {"Mode": "custom", "Profile": "aGVsbG8="},
                    "NoNewPrivileges": True,
                },
                "Init": False,
                "StopSignal": "SIGINT",
                "TTY": True,
                "OpenStdin": True,
                "ReadOnly": True,
                "Mounts": [
                    {"Type": "volume", "Source": "v", "Target": "/v", "VolumeOptions": {"NoCopy": True}},
                    {"Type": "bind", "Source": "/b", "Target": "/b", "BindOptions": {"Propagation": "rshared"}},
                    {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 10, "Mode": 448}},
                ],
                "StopGracePeriod": 0,
                "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1000000000, "Retries": 2},
                "Hosts": ["1.2.3.4 foo"],
                "DNSConfig": {"Nameservers": ["1.1.1.1"], "Search": ["x"], "Options": ["o"]},
                "Secrets": [{"File": {"Name": "s1", **target}, "SecretID": secret, "SecretName": "s1"}],
                "Configs": [{"File": {"Name": "/c1", **target}, "ConfigID": config, "ConfigName": "c1"}],
                "Isolation": "default",
                "Sysctls": {"a": "b"},
                "CapabilityAdd": ["CAP_NET_ADMIN"],
                "CapabilityDrop": ["CAP_CHOWN"],
                "Ulimits": [{"Name": "nofile", "Hard": 5, "Soft": 4}],
            },
            "Resources": {
                "Limits": {"NanoCPUs": 100000000, "MemoryBytes": 50000000, "Pids": 5},
                "Reservations": {
                    "MemoryBytes": 4194304,
                    "GenericResources": [{"DiscreteResourceSpec": {"Kind": "gpu", "Value": 2}}],
                },
            },
            "RestartPolicy": {"Condition": "on-failure", "Delay": 0, "MaxAttempts": 3, "Window": 5},
            "Placement": {
                "Constraints": ["node.role==worker"],
                "Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.zone"}}],
                "MaxReplicas": 1,
                "Platforms": [{"Architecture": "amd64", "OS": "linux"}],
            },
            "Networks": [{"Target": "on1", "Aliases": ["al"], "DriverOpts": {"x": "y"}}],
            "LogDriver": {"Name": "json-file", "Options": {"max-size": "1m"}},
            "ForceUpdate": 2,
            "Runtime": "container",
        },
        "Mode": {"Replicated": {"Replicas": 0}},
        "UpdateConfig": {
            "Parallelism": 0,
            "Delay": 7,
            "FailureAction": "rollback",
            "Monitor": 9,
            "MaxFailureRatio": 0.5,
            "Order": "start-first",
        },
        "EndpointSpec": {
            "Mode": "vip",
            "Ports": [{"Protocol": "udp", "TargetPort": 80, "PublishedPort": 8080, "PublishMode": "host"}],
        },
    }
    await client.make("/services/create", given)
    expected = json.loads(json.dumps(given))
    expected["TaskTemplate"]["Networks"][0]["Target"] = network
    assert (await client.get("/services/web"))["Spec"] == expected


async def test_a_service_without_a_name_gets_one(client: Client) -> None:
    service_id = await client.make("/services/create", {"TaskTemplate": TASK})
    assert (await client.get(f"/services/{service_id}"))["Spec"]["Name"]


async def test_taken_names(client: Client) -> None:
    await client.make("/services/create", SPEC)
    words = "rpc error: code = AlreadyExists desc = name conflicts with an existing object: service web already exists"
    assert await client.error("POST", "/services/create", SPEC) == (409, words)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (None, 400, "mismatched Runtime and *Spec fields"),
        ({"Name": "ab"}, 400, "mismatched Runtime and *Spec fields"),
        ({"Name": "ab", "TaskTemplate": {"Runtime": "nope"}}, 400, "unsupported runtime"),
        ({"Name": "ab", "TaskTemplate": {"Runtime": "plugin"}}, 501, "TaskTemplate.Runtime 'plugin' is not supported"),
        (spec(container={"Image": ""}), 400, "desc = ContainerSpec: image reference must be provided"),
        (spec(container={"Image": "UP CASE"}), 400, 'desc = ContainerSpec: "UP CASE" is not a valid repository/tag'),
        (spec("bad name"), 400, "desc = name must be valid as a DNS name component"),
        (spec("-b"), 400, "desc = name must be valid as a DNS name component"),
        (spec("a" * 64), 400, "desc = name must be 63 characters or fewer"),
        (spec("a" * 200 + "!"), 400, "DNS name component"),
        (spec(template={"Networks": [{"Target": "nonet"}]}), 400, "network nonet not found"),
        (spec(template={"Networks": [{"Target": "ingress"}]}), 400, "cannot be attached to it"),
        (
            spec(container={"Secrets": [{"SecretID": "s", "SecretName": "zz", "File": {"Name": "s"}}]}),
            400,
            "rpc error: code = InvalidArgument desc = secret not found: zz",
        ),
        (
            spec(container={"Configs": [{"ConfigID": "s", "ConfigName": "zz", "File": {"Name": "s"}}]}),
            400,
            "rpc error: code = InvalidArgument desc = config not found: zz",
        ),
        (
            spec(container={"Secrets": [{"SecretID": "s", "SecretName": "zz"}]}),
            400,
            "desc = malformed secret reference, no target provided",
        ),
        (
            spec(container={"Secrets": 2 * [{"SecretID": "s", "SecretName": "z", "File": {"Name": "t"}}]}),
            400,
            "desc = secret references 'z' and 'z' have a conflicting target: 't'",
        ),
        (spec(Mode={"Replicated": {}, "Global": {}}), 400, "must specify only one service mode"),
        (spec(Mode={"ReplicatedJob": {"MaxConcurrent": -1}}), 400, "Mode.ReplicatedJob.MaxConcurrent: expected 0 or"),
        (spec(Mode={"GlobalJob": {}}, UpdateConfig={}), 400, "UpdateConfig: not possible for a job"),
        (spec(Mode={"Replicated": {"Replicas": -1}}), 400, "Mode.Replicated.Replicas: expected 0 or more, got -1"),
        (spec(template={"Placement": {"Constraints": ["x"]}}), 400, "node.role==worker"),
        (spec(template={"Placement": {"Constraints": ["x==" + "y" * 2000]}}), 400, "Placement.Constraints: expected"),
        (spec(template={"Placement": {"MaxReplicas": -1}}), 400, "Placement.MaxReplicas"),
        (spec(template={"Placement": {"Preferences": [{}]}}), 400, "Placement.Preferences"),
        (
            spec(template={"Resources": {"Limits": {"MemoryBytes": 5}}}),
            400,
            "desc = invalid memory value 5: Must be at least 4MiB",
        ),
        (
            spec(template={"Resources": {"Reservations": {"NanoCPUs": -5}}}),
            400,
            "desc = invalid cpu value -5e-09: Must be at least 0.001",
        ),
        (
            spec(
                template={"Resources": {"Reservations": {"GenericResources": [{"NamedResourceSpec": {"Kind": "g"}}]}}}
            ),
            400,
            "GenericResources",
        ),
        (spec(template={"RestartPolicy": {"Condition": "nope"}}), 400, 'invalid RestartCondition: "nope"'),
        (spec(template={"RestartPolicy": {"Delay": -1}}), 400, "desc = TaskSpec: restart-delay cannot be negative"),
        (spec(template={"RestartPolicy": {"Window": -1}}), 400, "restart-window cannot be negative"),
        (spec(template={"RestartPolicy": {"MaxAttempts": -1}}), 400, "RestartPolicy.MaxAttempts"),
        (spec(UpdateConfig={"FailureAction": "nope"}), 400, "unrecognized update failure action nope"),
        (spec(RollbackConfig={"FailureAction": "nope"}), 400, "unrecognized update failure action nope"),
        (spec(UpdateConfig={"Order": "nope"}), 400, "unrecognized update order nope"),
        (
            spec(UpdateConfig={"MaxFailureRatio": 2}),
            400,
            "update-maxfailureratio cannot be less than 0 or bigger than 1",
        ),
        (spec(UpdateConfig={"Delay": -1}), 400, "desc = TaskSpec: update-delay cannot be negative"),
        (spec(UpdateConfig={"Monitor": -1}), 400, "desc = TaskSpec: update-monitor cannot be negative"),
        (spec(UpdateConfig={"Parallelism": -1}), 400, "UpdateConfig.Parallelism"),
        (spec(EndpointSpec={"Mode": "nope"}), 400, 'invalid resolution mode: "nope"'),
        (
            spec(EndpointSpec={"Mode": "dnsrr", "Ports": [{"TargetPort": 80}]}),
            400,
            "desc = EndpointSpec: port published with ingress mode can't be used with dnsrr mode",
        ),
        (
            spec(EndpointSpec={"Ports": [{"TargetPort": n, "PublishedPort": 8080} for n in (80, 81)]}),
            400,
            "desc = EndpointSpec: duplicate published ports provided",
        ),
        (spec(EndpointSpec={"Ports": [{"TargetPort": 0}]}), 400, "EndpointSpec.Ports.TargetPort: expected 1 to 65535"),
        (spec(EndpointSpec={"Ports": [{"TargetPort": 1, "PublishedPort": 80800}]}), 400, "PublishedPort"),
        (spec(EndpointSpec={"Ports": [{"TargetPort": 80, "Protocol": "x"}]}), 400, "expected tcp, udp or sctp"),
        (spec(EndpointSpec={"Ports": [{"TargetPort": 80, "PublishMode": "x"}]}), 400, "expected ingress or host"),
        (spec(container={"Mounts": [{"Type": "nope", "Target": "/x"}]}), 400, 'invalid MountType: "nope"'),
        (spec(container={"Mounts": [{"Type": "bind", "Target": "/x"}]}), 400, "ContainerSpec.Mounts.Source"),
        (spec(container={"Mounts": [{"Type": "volume"}]}), 400, "ContainerSpec.Mounts.Target"),
        (
            spec(container={"Mounts": [{"Type": "volume", "Target": "data"}]}),
            400,
            "ContainerSpec.Mounts.Target: expected an absolute path in the container, got data",
        ),
        (spec(container={"Mounts": [{"Type": "volume", "Target": "/"}]}), 400, "other than /"),
        (
            spec(container={"Mounts": [{"Type": "tmpfs", "Target": "/a"}] * 2}),
            400,
            "desc = ContainerSpec: duplicate mount point: /a",
        ),
        (
            spec(container={"Healthcheck": {"Interval": 5}}),
            400,
            "desc = ContainerSpec: Interval in HealthConfig cannot be less than 1ms",
        ),
        (spec(container={"Hostname": "{{.Nope}}"}), 400, "desc = cannot expand the hostname '{{.Nope}}': "),
        (spec(container={"Env": ["X={{.Task.Slot"]}), 400, "cannot expand the environment 'X={{.Task.Slot'"),
        (
            spec(container={"Mounts": [{"Type": "volume", "Source": "{{.X}}", "Target": "/x"}]}),
            400,
            "cannot expand the mount source '{{.X}}': template: line 1: executing at <.X>: map has no entry",
        ),
        (spec(container={"StopGracePeriod": -5}), 400, "ContainerSpec.StopGracePeriod"),
        (spec(container={"Isolation": "x"}), 400, 'invalid Isolation: "x"'),
        (spec(container={"Ulimits": [{}]}), 400, "ContainerSpec.Ulimits.Name"),
        # What costs the manager more than any service needs.
        (spec(Mode={"Replicated": {"Replicas": 100_001}}), 400, "Mode.Replicated.Replicas: expected at most 100000"),
        (spec(Mode={"ReplicatedJob": {"MaxConcurrent": 2**62}}), 400, "Mode.ReplicatedJob.MaxConcurrent"),
        (spec(Mode={"ReplicatedJob": {"TotalCompletions": 2**62}}), 400, "Mode.ReplicatedJob.TotalCompletions"),
        (
            spec(template={"Placement": {"Constraints": [f"node.labels.a!={each}" for each in range(257)]}}),
            400,
            "Placement.Constraints: expected at most 256, got 257",
        ),
        (
            spec(template={"Placement": {"Preferences": [{"Spread": {"SpreadDescriptor": "node.labels.a"}}] * 17}}),
            400,
            "Placement.Preferences: expected at most 16, got 17",
        ),
        (
            spec(
                EndpointSpec={
                    "Ports": [
                        {"TargetPort": 1, "PublishedPort": 1, "HostIP": f"10.0.{n >> 8}.{n & 255}"} for n in range(257)
                    ]
                }
            ),
            400,
            "EndpointSpec.Ports.HostIP: expected at most 256 addresses for port 1/tcp, got 257",
        ),
    ],
)
async def test_bad_specs(client: Client, body: Any, status: int, words: str) -> None:
    answered, message = await client.error("POST", "/services/create", body)
    assert words in message
    assert answered == status
    assert await client.get("/services") == []


async def test_templates_that_a_node_may_fill_in_are_taken(client: Client) -> None:
    env = ["A={{.Node.Hostname}} {{.Task.Slot}}", 'B={{slice .Node.ID 0 5}} {{index .Service.Labels "team"}}']
    await client.make("/services/create", spec(container={"Env": env}, Labels={"team": "shop"}))


async def test_taken_ports(client: Client) -> None:
    ports = {"Ports": [{"TargetPort": 80, "PublishedPort": 8080}]}
    first = await client.make("/services/create", spec(EndpointSpec=ports))
    status, message = await client.error("POST", "/services/create", spec("web2", EndpointSpec=ports))
    holder = f"port '8080' is already in use by service 'web' ({first}) as an ingress port"
    assert (status, message) == (400, f"rpc error: code = InvalidArgument desc = {holder}")


@pytest.mark.parametrize(
    ("address", "mode", "refused"),
    [
        ("127.0.0.1", "ingress", ""),
        ("::", "ingress", ""),
        ("fd00::7", "ingress", ""),
        ("::1", "host", ""),
        ("::1", "ingress", ""),
        ("0:0::1", "ingress", "write '0:0::1' as '::1'"),
        ("::ffff:192.0.2.1", "ingress", "write '::ffff:192.0.2.1' as '192.0.2.1'"),
        ("127.0.0.6", "ingress", "on each node 127.0.0.6 stands for ::1: publish at 127.0.0.1"),
        ("localhost", "ingress", "expected an IPv4 or IPv6 address, got 'localhost'"),
        ("fe80::1%eth0", "host", "expected an IPv4 or IPv6 address, got 'fe80::1%eth0'"),
    ],
)
async def test_a_port_is_published_at_an_address_that_can_answer(
    client: Client, address: str, mode: str, refused: str
) -> None:
    port = {"TargetPort": 80, "PublishedPort": 8080, "PublishMode": mode, "HostIP": address}
    body = spec(EndpointSpec={"Ports": [port]})
    if not refused:
        await client.make("/services/create", body)
        return
    status, message = await client.error("POST", "/services/create", body)
    assert status == 400
    assert f"EndpointSpec.Ports.HostIP: {refused}" in message


async def test_find_by_id_name_and_prefix(client: Client) -> None:
    service_id = await client.make("/services/create", SPEC)
    await client.make("/services/create", spec("wax"))
    for reference in (service_id, "web", service_id[:10]):
        assert (await client.get(f"/services/{reference}"))["ID"] == service_id
    assert await client.error("GET", "/services/we") == (404, "service we not found")


async def test_list_filters(client: Client) -> None:
    web = await client.make("/services/create", spec(Labels={"tier": "front"}))
    await client.make("/services/create", spec("db", Mode={"Global": {}}))

    async def names(filters: str) -> list[str]:
        return [service["Spec"]["Name"] for service in await client.get(f"/services?filters={filters}")]

    assert await names('{"name":["we"]}') == ["web"]
    assert await names('{"name":{"we":true}}') == ["web"]
    assert await names('{"name":["eb"]}') == []
    assert await names('{"name":["we","db"]}') == ["web", "db"]
    assert await names(f'{{"id":["{web[:6]}"]}}') == ["web"]
    assert await names('{"label":["tier=front"]}') == ["web"]
    assert await names('{"label":["tier=back"]}') == []
    assert await names('{"label":["tier"]}') == ["web"]
    assert await names('{"mode":["global"]}') == ["db"]
    assert await client.error("GET", '/services?filters={"nope":["x"]}') == (400, "invalid filter 'nope'")


async def test_list_with_status(client: Client, cluster: ApiCluster) -> None:
    await client.make("/services/create", spec(Mode={"Replicated": {"Replicas": 3}}))
    cluster.resume()
    await running(cluster, 3)
    [service] = await client.get("/services?status=True")
    assert service["ServiceStatus"] == {"RunningTasks": 3, "DesiredTasks": 3, "CompletedTasks": 0}


async def test_of_a_global_service_what_is_lost_is_not_desired(client: Client, cluster: ApiCluster) -> None:
    """As with SwarmKit, which stops its tasks on a node that is down: no other node can have them."""
    await client.make("/services/create", spec("agent", Mode={"Global": {}}))
    cluster.resume()
    nodes = (WORKER1, WORKER2)
    await running(cluster, len(nodes))
    for place, node_id in enumerate(nodes, start=1):

        def lose(tx: Transaction, node_id: str = node_id) -> None:
            node = tx.nodes.get(node_id)
            assert node is not None
            tx.put(replace(node, status=replace(node.status, state="down")))

        await cluster.store.update(lose)
        [service] = await client.get("/services?status=true")
        left = len(nodes) - place
        assert service["ServiceStatus"] == {
            "RunningTasks": left,
            "DesiredTasks": left or len(nodes),  # with none left it is down
            "CompletedTasks": 0,
        }


async def running(cluster: ApiCluster, count: int) -> None:
    with cluster.store.watch() as subscription:
        while sum(t.live and t.status.state is TaskState.RUNNING for t in cluster.store.view.tasks) != count:
            await subscription.next()


async def test_update_keeps_the_previous_spec(client: Client, cluster: ApiCluster) -> None:
    service_id = await client.make("/services/create", SPEC)
    old = cluster.store.view.services.get(service_id)
    assert await update(client, spec(container={"Args": ["sleep"]})) == (200, {"Warnings": None})
    service = await client.get("/services/web")
    assert service["PreviousSpec"]["TaskTemplate"]["ContainerSpec"] == {"Image": "busybox", "Isolation": "default"}
    assert service["Spec"]["TaskTemplate"]["ContainerSpec"]["Args"] == ["sleep"]
    new = cluster.store.view.services.get(service_id)
    assert old is not None
    assert new is not None
    assert new.spec_version > old.spec_version


async def test_scaling_does_not_change_what_tasks_are_made_from(client: Client, cluster: ApiCluster) -> None:
    service_id = await client.make("/services/create", SPEC)
    before = cluster.store.view.services.get(service_id)
    await update(client, spec(Mode={"Replicated": {"Replicas": 5}}, Labels={"x": "y"}))
    after = cluster.store.view.services.get(service_id)
    assert before is not None
    assert after is not None
    assert after.spec_version == before.spec_version


@pytest.mark.parametrize(
    "body",
    [
        SPEC,
        spec(template={"RestartPolicy": {}, "Resources": {}, "Placement": {}, "LogDriver": {}}),
        spec(
            container={"Healthcheck": {}, "DNSConfig": {}, "Privileges": {"Seccomp": {}}, "Labels": {}, "Init": False}
        ),
        spec(container={"Mounts": [{"Target": "/t", "Source": "v"}], "StopGracePeriod": 0}, Mode={"Global": {}}),
        spec(
            UpdateConfig={}, RollbackConfig={"Monitor": 0, "Order": "", "FailureAction": ""}, EndpointSpec={"Mode": ""}
        ),
        spec(EndpointSpec={"Ports": [{"TargetPort": 80, "PublishMode": "host"}]}),
    ],
)
async def test_sending_back_what_was_read_changes_nothing(client: Client, cluster: ApiCluster, body: Any) -> None:
    service_id = await client.make("/services/create", body)
    before = cluster.store.view.services.get(service_id)
    assert (await update(client, (await client.get("/services/web"))["Spec"]))[0] == 200
    after = cluster.store.view.services.get(service_id)
    assert before is not None
    assert after is not None
    assert after.version.index > before.version.index
    assert after.spec == before.spec
    assert after.spec_version == before.spec_version


async def test_only_ports_that_tasks_use_change_the_task_specification(client: Client, cluster: ApiCluster) -> None:
    service_id = await client.make("/services/create", SPEC)
    before = cluster.store.view.services.get(service_id)
    port = {"TargetPort": 80, "PublishedPort": 8080}
    versions = [before.spec_version if before is not None else 0]
    other = {"TargetPort": 81, "PublishedPort": 8081}
    for ports in ([port], [port, other], [port | {"PublishMode": "host"}]):
        await update(client, spec(EndpointSpec={"Ports": ports}))
        service = cluster.store.view.services.get(service_id)
        assert service is not None
        versions.append(service.spec_version)
    assert versions[0] < versions[1] == versions[2] < versions[3]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (spec("other"), 501, "rpc error: code = Unimplemented desc = renaming services is not supported"),
        ({"TaskTemplate": TASK}, 501, "rpc error: code = Unimplemented desc = renaming services is not supported"),
        (spec(Mode={"Global": {}}), 501, "rpc error: code = Unimplemented desc = service mode change is not allowed"),
        ({}, 400, "mismatched Runtime and *Spec fields"),
    ],
)
async def test_refused_updates(client: Client, body: Any, status: int, words: str) -> None:
    await client.make("/services/create", SPEC)
    path = f"/services/web/update?version={await version(client)}"
    assert await client.error("POST", path, body) == (status, words)


async def test_stale_updates(client: Client) -> None:
    await client.make("/services/create", SPEC)
    words = "rpc error: code = Unknown desc = update out of sequence"
    assert await client.error("POST", "/services/web/update?version=1", SPEC) == (500, words)
    status, message = await client.error("POST", "/services/web/update", SPEC)
    assert (status, message[:27]) == (400, "invalid service version '':")
    assert await client.error("POST", "/services/x/update?version=1", SPEC) == (404, "service x not found")


async def test_what_the_manager_notes_makes_no_version_stale(client: Client, cluster: ApiCluster) -> None:
    """Two commands right after each other: the first one's update goes on while the second one is being sent."""
    await client.make("/services/create", SPEC)
    read = await version(client)

    def note(tx: Transaction) -> None:
        (service,) = tx.services
        tx.put(
            msgspec.structs.replace(
                service, update_status=UpdateStatus(state=UpdateState.UPDATING), endpoint=Endpoint()
            )
        )

    await cluster.store.update(note)
    assert await version(client) == read + 1
    scaled = spec(Mode={"Replicated": {"Replicas": 3}})
    assert (await client.ask("POST", f"/services/web/update?version={read}", scaled))[0] == 200
    for stale in (read, read + 1, await version(client) + 1):
        assert (await client.error("POST", f"/services/web/update?version={stale}", SPEC))[0] == 500
    assert (await client.get("/services/web"))["Spec"]["Mode"]["Replicated"]["Replicas"] == 3


async def test_rollback(client: Client) -> None:
    service_id = await client.make("/services/create", SPEC)
    path = f"/services/web/update?rollback=previous&version={await version(client)}"
    words = f"rpc error: code = FailedPrecondition desc = service {service_id} does not have a previous spec"
    assert await client.error("POST", path, SPEC) == (400, words)
    await update(client, spec(container={"Args": ["sleep"]}))
    assert (await update(client, SPEC, query="&rollback=previous"))[0] == 200
    service = await client.get("/services/web")
    assert "Args" not in service["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert service["PreviousSpec"]["TaskTemplate"]["ContainerSpec"]["Args"] == ["sleep"]
    status = service["UpdateStatus"]
    assert (status["State"], status["Message"]) == ("rollback_started", "manually requested rollback")
    assert (await update(client, SPEC, query="&rollback=nope"))[0] == 400


async def test_a_deleted_service_is_gone_at_once_and_its_name_is_free(client: Client, cluster: ApiCluster) -> None:
    first = await client.make("/services/create", SPEC)
    assert await client.ask("DELETE", "/services/web") == (200, None)
    assert first in cluster.store.view.services
    for reference in ("web", first, first[:10]):
        assert await client.error("GET", f"/services/{reference}") == (404, f"service {reference} not found")
    assert await client.error("DELETE", "/services/web") == (404, "service web not found")
    assert await client.get("/services") == []
    second = await client.make("/services/create", SPEC)
    assert (await client.get("/services/web"))["ID"] == second != first
    cluster.resume()  # the first one's tasks stop now


async def test_the_ports_of_a_deleted_service_are_free(client: Client) -> None:
    body = spec(EndpointSpec={"Ports": [{"TargetPort": 80, "PublishedPort": 8080}]})
    await client.make("/services/create", body)
    await client.ask("DELETE", "/services/web")
    await client.make("/services/create", body)


def auth_header(value: Any) -> dict[str, str]:
    return {"x-registry-auth": base64.urlsafe_b64encode(json.dumps(value).encode()).decode()}


async def test_credentials_are_apart_from_the_service(client: Client, cluster: ApiCluster) -> None:
    credentials = {"username": "u", "password": "hush-hush", "serveraddress": "r"}
    service_id = await client.make("/services/create", SPEC, auth_header(credentials))
    login = cluster.store.view.registry_logins.get(service_id)
    assert login is not None
    assert json.loads(login.auth) == credentials
    assert "hush-hush" not in repr(login)
    assert "hush-hush" not in repr(cluster.store.view.services.get(service_id))
    other = await client.make("/services/create", spec("no-auth"), auth_header({}))
    assert other not in cluster.store.view.registry_logins


@pytest.mark.parametrize("header", ["*", "eA", "_____w"])
async def test_malformed_credentials(client: Client, header: str) -> None:
    words = "invalid X-Registry-Auth header: expected base64url-encoded JSON"
    assert await client.error("POST", "/services/create", SPEC, {"x-registry-auth": header}) == (400, words)


async def test_predefined_networks_stay_names(client: Client) -> None:
    host = await client.get("/networks/host?scope=swarm")
    await client.make("/services/create", spec(template={"Networks": [{"Target": host["Id"]}]}))
    assert (await client.get("/services/web"))["Spec"]["TaskTemplate"]["Networks"] == [{"Target": "host"}]


@pytest.mark.parametrize(
    ("networks", "ports", "words"),
    [
        (("host", "on1"), (), "network host is local to each node: a service attached to it can have no other"),
        (("on1", "bridge"), (), "network bridge is local to each node: a service attached to it can have no other"),
        (
            ("host",),
            ({"TargetPort": 80, "PublishedPort": 80},),
            (
                "network host is local to each node, and the routing mesh does not lead there: publish the ports with "
                "mode=host, or leave the network out"
            ),
        ),
        (("host",), ({"TargetPort": 80, "PublishedPort": 80, "PublishMode": "host"},), ""),
    ],
)
async def test_predefined_networks_are_alone_and_not_in_the_mesh(
    client: Client, networks: tuple[str, ...], ports: tuple[Any, ...], words: str
) -> None:
    await client.make("/networks/create", {"Name": "on1", "Driver": "overlay"})
    template = {"Networks": [{"Target": each} for each in networks]}
    body = spec(template=template, EndpointSpec={"Ports": list(ports)})
    if not words:
        await client.make("/services/create", body)
        return
    status, message = await client.error("POST", "/services/create", body)
    assert (status, message.rpartition("desc = ")[2]) == (400, words)


async def test_virtual_addresses_have_their_networks_prefix(client: Client, cluster: ApiCluster) -> None:
    """As Prometheus parses them."""
    network = await client.make("/networks/create", {"Name": "on1", "Driver": "overlay"})
    await client.make("/services/create", spec(template={"Networks": [{"Target": "on1"}]}))
    gone = VirtualIP(network_id="x" * 25, addr="10.7.0.2")

    def allocate(tx: Transaction) -> None:
        (service,) = tx.services
        vips = (VirtualIP(network_id=network, addr="10.1.0.2"), gone)
        tx.put(msgspec.structs.replace(service, endpoint=Endpoint(virtual_ips=vips)))

    await cluster.store.update(allocate)
    shown = [{"NetworkID": network, "Addr": "10.1.0.2/16"}, {"NetworkID": gone.network_id, "Addr": "10.7.0.2/32"}]
    (listed,) = await client.get("/services")
    assert listed["Endpoint"]["VirtualIPs"] == shown
    assert (await client.get("/services/web"))["Endpoint"]["VirtualIPs"] == shown


async def test_networks_in_their_old_place(client: Client) -> None:
    network = await client.make("/networks/create", {"Name": "on1", "Driver": "overlay"})
    await client.make("/services/create", spec(Networks=[{"Target": "on1"}]))
    shown = (await client.get("/services/web"))["Spec"]
    assert shown["TaskTemplate"]["Networks"] == [{"Target": network}]
    assert "Networks" not in shown
