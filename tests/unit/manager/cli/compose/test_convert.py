from collections.abc import Callable

import pytest

from common.model.container import (
    ConfigReference,
    DnsConfig,
    DriverConfig,
    FileTarget,
    HealthConfig,
    Mount,
    RuntimeTarget,
    SecretReference,
    TmpfsOptions,
    Ulimit,
    VolumeOptions,
)
from common.model.network import IpamConfig
from common.model.service import (
    Global,
    GlobalJob,
    NetworkAttachmentConfig,
    PortConfig,
    Replicated,
    ReplicatedJob,
    RestartPolicy,
    ServiceMode,
    ServiceSpec,
    UpdateConfig,
)
from manager.cli.compose import ComposeError, ComposeFile, Stack, convert, load, render

FILES = {
    "/project/secret": b"hush",
    "/project/conf": b"listen 80;",
    "/project/empty": b"",
    "/project/big": b"x" * 512_000,
}


def read(path: str) -> bytes:
    if path in FILES:
        return FILES[path]
    raise FileNotFoundError(2, "No such file or directory", path)


def stack(text: str) -> Stack:
    return convert(load([ComposeFile("f", text)], {}, read, "/project"), "shop", read)


def service(lines: str = "", top: str = "") -> ServiceSpec:
    body = "".join(f"    {line}\n" for line in lines.splitlines())
    return stack(f"services:\n  web:\n    image: web:1\n{body}{top}").services["web"]


def container(lines: str, top: str = ""):
    spec = service(lines, top).task_template.container_spec
    assert spec is not None
    return spec


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(ComposeError) as caught:
        act()
    return str(caught.value)


def test_names_and_labels_are_those_of_a_stack() -> None:
    spec = service("labels: {a: b}\ndeploy: {labels: {c: d}}")
    assert spec.name == "shop_web"
    assert spec.labels == {"c": "d", "com.docker.stack.image": "web:1", "com.docker.stack.namespace": "shop"}
    inner = spec.task_template.container_spec
    assert inner is not None
    assert inner.labels == {"a": "b", "com.docker.stack.namespace": "shop"}


@pytest.mark.parametrize(
    ("image", "tagged"),
    [
        ("web", "web:latest"),
        ("web:1", "web:1"),
        ("host:5000/web", "host:5000/web:latest"),
        ("host:5000/web:2", "host:5000/web:2"),
        ("web@sha256:abc", "web@sha256:abc"),
        ("docker.io/library/web", "web:latest"),
    ],
)
def test_an_image_gets_its_tag_and_the_label_stays_as_written(image: str, tagged: str) -> None:
    spec = stack(f"services: {{web: {{image: '{image}'}}}}").services["web"]
    assert spec.task_template.container_spec is not None
    assert spec.task_template.container_spec.image == tagged
    assert spec.labels["com.docker.stack.image"] == image


def test_a_service_without_networks_joins_the_default_one() -> None:
    made = stack("services: {web: {image: a}}")
    assert list(made.networks) == ["shop_default"]
    assert made.networks["shop_default"].driver == DriverConfig(name="overlay")
    assert made.networks["shop_default"].labels == {"com.docker.stack.namespace": "shop"}
    attachment = NetworkAttachmentConfig(target="shop_default", aliases=("web",))
    assert made.services["web"].task_template.networks == (attachment,)


def test_a_network_may_have_both_families() -> None:
    made = stack(
        "services: {web: {image: a, networks: [front]}}\n"
        "networks: {front: {enable_ipv6: true, ipam: {config: [{subnet: 10.5.0.0/24}, {subnet: 'fd00:5::/64'}]}}}\n"
    )
    front = made.networks["shop_front"]
    assert front.ipv6_enabled
    assert front.ipam.configs == (IpamConfig(subnet="10.5.0.0/24"), IpamConfig(subnet="fd00:5::/64"))


def test_only_used_networks_are_created_and_external_ones_found() -> None:
    made = stack(
        "services:\n"
        "  web: {image: a, networks: {front: {aliases: [www]}, own: , outside: , host: }}\n"
        "networks:\n"
        "  front: {attachable: true, internal: true, driver_opts: {encrypted: ''}, labels: [a=b],\n"
        "          ipam: {driver: default, config: [{subnet: 10.5.0.0/24}]}}\n"
        "  own: {name: my-own, driver: bridge}\n"
        "  outside: {external: true, name: theirs}\n"
        "  host: {external: true}\n"
        "  unused:\n"
    )
    assert list(made.networks) == ["shop_front", "my-own"]
    front = made.networks["shop_front"]
    assert (front.attachable, front.internal) == (True, True)
    assert front.driver == DriverConfig(name="overlay", options={"encrypted": ""})
    assert front.labels == {"a": "b", "com.docker.stack.namespace": "shop"}
    assert front.ipam.configs == (IpamConfig(subnet="10.5.0.0/24"),)
    assert made.networks["my-own"].driver.name == "bridge"
    assert made.external_networks == ("theirs",)
    assert [(n.target, n.aliases) for n in made.services["web"].task_template.networks] == [
        ("host", ()),
        ("my-own", ("web",)),
        ("shop_front", ("www", "web")),
        ("theirs", ("web",)),
    ]


@pytest.mark.parametrize(
    ("deploy", "mode"),
    [
        ("{}", ServiceMode(replicated=Replicated())),
        ("{replicas: 0}", ServiceMode(replicated=Replicated(replicas=0))),
        ("{mode: global}", ServiceMode(global_=Global())),
        (
            "{mode: replicated-job, replicas: 3}",
            ServiceMode(replicated_job=ReplicatedJob(max_concurrent=3, total_completions=3)),
        ),
        ("{mode: global-job}", ServiceMode(global_job=GlobalJob())),
    ],
)
def test_modes(deploy: str, mode: ServiceMode) -> None:
    assert service(f"deploy: {deploy}").mode == mode


def test_a_global_service_has_no_replicas() -> None:
    message = refusal(lambda: service("deploy: {mode: global, replicas: 2}"))
    assert message == "f:4:28: services.web.deploy.replicas: replicas means nothing in global mode"


def test_no_limit_of_processes_may_be_written_as_docker_takes_it() -> None:
    resources = service("deploy: {resources: {limits: {pids: -1}}}").task_template.resources
    assert resources is not None
    assert resources.limits is not None
    assert resources.limits.pids == -1


def test_a_limit_of_processes_fits_into_64_bits() -> None:
    message = refusal(lambda: service(f"deploy: {{resources: {{limits: {{pids: -{10**29}}}}}}}"))
    assert "pids: expected a whole number" in message


def test_resources_are_billionths_and_bytes() -> None:
    resources = service(
        "deploy: {resources: {limits: {cpus: '0.1', memory: 50M, pids: 9}, reservations: {cpus: '2',"
        " generic_resources: [{discrete_resource_spec: {kind: gpu, value: 2}}]}}}"
    ).task_template.resources
    assert resources is not None
    assert resources.limits is not None
    assert (resources.limits.nano_cpus, resources.limits.memory_bytes, resources.limits.pids) == (10**8, 50 * 2**20, 9)
    assert resources.reservations is not None
    assert (resources.reservations.nano_cpus, resources.reservations.memory_bytes) == (2 * 10**9, 0)
    discrete = resources.reservations.generic_resources[0].discrete_resource_spec
    assert discrete is not None
    assert (discrete.kind, discrete.value) == ("gpu", 2)


@pytest.mark.parametrize(
    ("lines", "policy"),
    [
        ("", None),
        ("deploy: {restart_policy: {}}", RestartPolicy()),
        (
            "deploy: {restart_policy: {condition: on-failure, delay: 5s, max_attempts: 0, window: 2m}}",
            RestartPolicy(condition="on-failure", delay=5 * 10**9, max_attempts=0, window=120 * 10**9),
        ),
        ("restart: always", RestartPolicy(condition="any")),
        ("restart: no", None),
        ("restart: on-failure:3", RestartPolicy(condition="on-failure", max_attempts=3)),
        ("restart: always\ndeploy: {restart_policy: {condition: none}}", RestartPolicy(condition="none")),
    ],
)
def test_restart_policies(lines: str, policy: RestartPolicy | None) -> None:
    assert service(lines).task_template.restart_policy == policy


def test_updates_take_the_engines_defaults_for_what_is_not_said() -> None:
    spec = service("deploy: {update_config: {parallelism: 0, delay: 1s}, rollback_config: {order: start-first}}")
    assert spec.update_config == UpdateConfig(parallelism=0, delay=10**9)
    assert spec.rollback_config == UpdateConfig(order="start-first")
    assert service().update_config is None


def test_ports_are_sorted_by_published_number_and_keep_addresses() -> None:
    endpoint = service(
        "ports: ['443:8443', '127.0.0.1:80:8080/udp', {target: 9, mode: host}]\ndeploy: {endpoint_mode: dnsrr}"
    ).endpoint_spec
    assert endpoint is not None
    assert endpoint.mode == "dnsrr"
    assert endpoint.ports == (
        PortConfig(target_port=9, publish_mode="host"),
        PortConfig(target_port=8080, published_port=80, protocol="udp", host_ip="127.0.0.1"),
        PortConfig(target_port=8443, published_port=443),
    )


def test_mounts() -> None:
    top = (
        "volumes:\n  data: {driver: nfs, driver_opts: {o: addr=x}, labels: {a: b}}\n"
        "  plain:\n  outside: {external: true, name: theirs}\n"
    )
    mounts = container(
        "volumes: ['data:/d:nocopy', 'plain:/p', 'outside:/o:ro', /anonymous, './src:/s:rslave',"
        " {type: tmpfs, target: /t, tmpfs: {size: 10}}]\n"
        "tmpfs: ['/run', '/tmp:size=1m,mode=1770,noexec,uid=5']",
        top,
    ).mounts
    stack_label = {"com.docker.stack.namespace": "shop"}
    assert mounts[0] == Mount(
        source="shop_data",
        target="/d",
        volume_options=VolumeOptions(
            no_copy=True,
            labels={"a": "b", **stack_label},
            driver_config=DriverConfig(name="nfs", options={"o": "addr=x"}),
        ),
    )
    assert mounts[1] == Mount(source="shop_plain", target="/p", volume_options=VolumeOptions(labels=stack_label))
    assert mounts[2] == Mount(source="theirs", target="/o", read_only=True, volume_options=VolumeOptions())
    assert mounts[3] == Mount(target="/anonymous")
    assert (mounts[4].type, mounts[4].source) == ("bind", "/project/src")
    assert mounts[4].bind_options is not None
    assert mounts[4].bind_options.propagation == "rslave"
    assert mounts[5] == Mount(type="tmpfs", target="/t", tmpfs_options=TmpfsOptions(size_bytes=10))
    assert mounts[6] == Mount(type="tmpfs", target="/run")
    options = TmpfsOptions(size_bytes=2**20, mode=0o1770, options=(("noexec",), ("uid", "5")))
    assert mounts[7] == Mount(type="tmpfs", target="/tmp", tmpfs_options=options)


def test_a_health_check() -> None:
    check = container(
        "healthcheck: {test: 'true', interval: 1m, timeout: 2s, retries: 4, start_period: 1s, start_interval: 3s}"
    )
    assert check.healthcheck == HealthConfig(
        test=("CMD-SHELL", "true"),
        interval=60 * 10**9,
        timeout=2 * 10**9,
        retries=4,
        start_period=10**9,
        start_interval=3 * 10**9,
    )
    assert container("healthcheck: {disable: true}").healthcheck == HealthConfig(test=("NONE",))
    assert "cannot both be set" in refusal(lambda: service("healthcheck: {disable: true, test: x}"))


def test_the_rest_of_a_container() -> None:
    spec = container(
        "command: run it\nentrypoint: [/init]\nenvironment: {B: 2, A: , C: ''}\nuser: me\nworking_dir: /w\n"
        "hostname: h\nextra_hosts: ['a:10.0.0.1', 'b:fd00::1', nothing]\ndns: 9.9.9.9\ndns_search: [x.y]\n"
        "dns_opt: ['ndots:2']\n"
        "cap_add: [net_admin, CAP_SYS_TIME]\ncap_drop: [ALL, CHOWN]\nulimits: {nofile: 9, core: {soft: 1, hard: 2}}\n"
        "sysctls: {a.b: 1}\ninit: false\ntty: true\nstdin_open: true\nread_only: true\nstop_signal: SIGINT\n"
        "stop_grace_period: 0s\ngroup_add: [audio, 5]\noom_score_adj: -5\nisolation: default"
    )
    assert (spec.command, spec.args) == (("/init",), ("run", "it"))
    assert spec.env == ("A", "B=2", "C=")
    assert (spec.user, spec.dir, spec.hostname, spec.groups) == ("me", "/w", "h", ("audio", "5"))
    assert spec.hosts == ("10.0.0.1 a", "fd00::1 b")
    assert spec.dns_config == DnsConfig(nameservers=("9.9.9.9",), search=("x.y",), options=("ndots:2",))
    assert (spec.capability_add, spec.capability_drop) == (("CAP_NET_ADMIN", "CAP_SYS_TIME"), ("ALL",))
    assert spec.ulimits == (Ulimit(name="core", soft=1, hard=2), Ulimit(name="nofile", soft=9, hard=9))
    assert (spec.sysctls, spec.init, spec.tty, spec.open_stdin, spec.read_only) == (
        {"a.b": "1"},
        False,
        True,
        True,
        True,
    )
    assert (spec.stop_signal, spec.stop_grace_period, spec.oom_score_adj) == ("SIGINT", 0, -5)


def test_adding_a_capability_wins_over_dropping_it() -> None:
    spec = container("cap_add: [CHOWN, ALL]\ncap_drop: [KILL]")
    assert (spec.capability_add, spec.capability_drop) == (("ALL",), ("CAP_KILL",))
    assert container("cap_add: [chown]\ncap_drop: [CAP_CHOWN]").capability_drop == ()


def test_a_log_driver() -> None:
    assert service("logging: {driver: syslog, options: {tag: x}}").task_template.log_driver == DriverConfig(
        name="syslog", options={"tag": "x"}
    )


def test_secrets_and_configs_are_made_and_referred_to_by_name() -> None:
    made = stack(
        "services:\n"
        "  web:\n"
        "    image: a\n"
        "    secrets: [zed, {source: key, target: /k, uid: '5', gid: '6', mode: 0400}]\n"
        "    configs: [conf]\n"
        "    credential_spec: {config: conf}\n"
        "secrets:\n"
        "  key: {file: secret, labels: {a: b}, template_driver: golang}\n"
        "  zed: {external: true, name: theirs}\n"
        "  vaulted: {driver: vault, driver_opts: {path: p}}\n"
        "configs: {conf: {file: conf, name: fixed}}\n"
    )
    assert list(made.secrets) == ["shop_key", "shop_vaulted"]
    key = made.secrets["shop_key"]
    assert (key.data, key.labels["a"], key.templating) == (b"hush", "b", DriverConfig(name="golang"))
    assert made.secrets["shop_vaulted"].driver == DriverConfig(name="vault", options={"path": "p"})
    assert made.configs["fixed"].data == b"listen 80;"
    spec = made.services["web"].task_template.container_spec
    assert spec is not None
    assert spec.secrets == (
        SecretReference(secret_name="shop_key", file=FileTarget(name="/k", uid="5", gid="6", mode=0o400)),
        SecretReference(secret_name="theirs", file=FileTarget(name="zed")),
    )
    assert spec.configs == (
        ConfigReference(config_name="fixed", file=FileTarget(name="conf")),
        ConfigReference(config_name="fixed", runtime=RuntimeTarget()),
    )
    assert spec.privileges is not None
    assert spec.privileges.credential_spec is not None
    assert spec.privileges.credential_spec.config == "fixed"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("networks: [nowhere]", 'services.web.networks.nowhere: undefined network "nowhere"'),
        ("volumes: ['nowhere:/a']", 'services.web.volumes[0].source: undefined volume "nowhere"'),
        ("secrets: [nowhere]", 'services.web.secrets: undefined secret "nowhere"'),
        ("configs: [nowhere]", 'services.web.configs: undefined config "nowhere"'),
        ("credential_spec: {config: nowhere}", 'services.web.credential_spec.config: undefined config "nowhere"'),
        ("credential_spec: {file: a, registry: b}", "expected one of file, registry"),
        (
            "volumes: [{type: bind, source: /a, target: /b, volume: {}}]",
            "volume options mean nothing for a mount of type bind",
        ),
        ("volumes: [{type: tmpfs, source: /a, target: /b}]", "a tmpfs mount has no source"),
        ("volumes: [{type: npipe, target: /b}]", "an npipe mount needs a source"),
        ("restart: sometimes", 'got the string "sometimes"'),
        ("tmpfs: '/t:size=big'", "'big' is not a valid size"),
        ("tmpfs: '/t:mode=rwx'", "mode is a number in octal"),
    ],
)
def test_what_cannot_be_deployed_is_refused_with_its_place(lines: str, message: str) -> None:
    text = refusal(lambda: service(lines))
    assert text.startswith("f:4:")
    assert message in text


@pytest.mark.parametrize(
    ("top", "message"),
    [
        ("secrets: {s: {file: gone}}", "f:4:15: secrets.s.file: cannot read /project/gone: No such file or directory"),
        ("secrets: {s: {file: empty}}", "/project/empty has 0 bytes; a secret has at least 1 and less than 512000"),
        ("secrets: {s: {file: big}}", "/project/big has 512000 bytes"),
        ("configs: {c: {file: empty}}", "a config has at least 1 and less than 1024000"),
    ],
)
def test_a_file_that_makes_no_secret_or_config_is_refused(top: str, message: str) -> None:
    assert message in refusal(lambda: service("", top))


def test_all_wrong_references_and_extensions_are_told():
    text = """services:
  web:
    image: a
    x-swarm-schedul: "* * * * *"
    x-swarm-max-unavailable: lots
    networks: [back]
    volumes: ["data:/x"]
    secrets: [pw, key]
    depends_on: {db: {condition: service_completed_successfully}}
  db: {image: a}
secrets: {key: {file: gone}}
"""
    said = refusal(lambda: stack(text)).splitlines()
    places = ["f:4:5", "f:5:5", "f:6:5", "f:7:15", "f:8:5", "f:9:18", "f:11:17"]
    assert [line.partition(": ")[0] for line in said] == places
    assert 'undefined secret "pw"' in said[4]


def test_a_missing_image_and_a_bad_stack_name_are_refused() -> None:
    assert refusal(lambda: stack("services: {web: {command: a}}")).startswith(
        'f:1:12: services.web: neither "image" nor "build" says what the service runs'
    )
    config = load([ComposeFile("f", "services: {web: {image: a}}")], {}, read, "/project")
    for name in ("", "a b", "-a", "a/b"):
        assert "is not a stack name" in refusal(lambda name=name: convert(config, name, read))


def test_a_service_of_two_files_is_reported_where_its_key_stands() -> None:
    files = [
        ComposeFile("one", "services: {web: {image: a}}"),
        ComposeFile("two", "services:\n  web:\n    secrets: [s]\n"),
    ]
    message = refusal(lambda: convert(load(files, {}, read, "/project"), "shop", read))
    assert message.startswith("two:3:5: services.web.secrets: undefined secret")


# --- beyond the Docker API ---

PAIR = "services:\n  web:\n    image: web\n    {web}\n  db:\n    image: db\n    {db}\n"


def depends_on(web: str, db: str = "") -> str | None:
    made = stack(PAIR.format(web=web, db=db))
    return made.services["web"].labels.get("swarm.x.depends-on")


def test_depends_on_becomes_a_label_with_full_names() -> None:
    assert depends_on("depends_on: [db]") == "shop_db=started"
    assert depends_on("depends_on: {db: {condition: service_healthy}}") == "shop_db=healthy"
    once = "deploy: {restart_policy: {condition: on-failure}}"
    long = "depends_on: {db: {condition: service_completed_successfully}}"
    assert depends_on(long, once) == "shop_db=completed"
    assert depends_on(long, "restart: on-failure:3") == "shop_db=completed"
    assert depends_on(long, "deploy: {mode: replicated-job}") == "shop_db=completed"
    assert depends_on("depends_on: {cache: {required: false}}") is None


@pytest.mark.parametrize(
    ("web", "db", "words"),
    [
        ("depends_on: [db]", "depends_on: [web]", "depend on each other in a cycle: db → web → db"),
        ("depends_on: [web]", "", "in a cycle: web → web"),
        (
            "depends_on: {db: {condition: service_completed_successfully}}",
            "",
            'the service db never completes: it is restarted whenever it ends: give db "deploy.restart_policy',
        ),
        (
            "depends_on: {db: {condition: service_healthy}}",
            "deploy: {mode: global-job}",
            "the service db is a job, which is never healthy: use service_completed_successfully",
        ),
        (
            "x-swarm-on-rotat: restart",
            "",
            'services.web.x-swarm-on-rotat: unknown extension; did you mean "on-rotate"?',
        ),
        ("x-swarm-on-rotate: never", "", "services.web.x-swarm-on-rotate: expected restart"),
        ("x-swarm-depends-on: db", "", "write depends_on instead"),
    ],
)
def test_an_invalid_extension_is_an_error(web: str, db: str, words: str) -> None:
    with pytest.raises(ComposeError) as caught:
        depends_on(web, db)
    assert words in str(caught.value)


def test_a_volumes_scope_is_a_label_of_its_mounts() -> None:
    (mount,) = container("volumes: ['v:/v']", "volumes: {v: {x-swarm-scope: one}}").mounts
    assert mount.volume_options.labels["swarm.x.scope"] == "one"
    with pytest.raises(ComposeError, match=r"volumes\.v\.x-swarm-scope: expected slot, one, node or shared; got 'two'"):
        container("volumes: ['v:/v']", "volumes: {v: {x-swarm-scope: two}}")


def test_a_mount_may_be_of_a_snapshot() -> None:
    long = "volumes: [{type: volume, source: v, target: /v, x-swarm-snapshot: %s}]"
    for volumes in ("volumes: {v: {}}", "volumes: {v: {external: true}}"):
        (mount,) = container(long % "pause", volumes).mounts
        assert mount.volume_options.labels["swarm.x.snapshot"] == "pause"
    with pytest.raises(ComposeError, match="x-swarm-snapshot: expected pause, stop or live; got 'often'"):
        container(long % "often", "volumes: {v: {}}")
    with pytest.raises(ComposeError, match=r"swarm\.x\.snapshot is of mounts of volumes that have a name"):
        container("volumes: [{type: bind, source: /v, target: /v, x-swarm-snapshot: live}]", "")


def test_extensions_belong_to_services() -> None:
    for text in ("x-swarm-a: 1\nservices: {}\n", "services: {}\nvolumes: {v: {x-swarm-a: 1}}\n"):
        with pytest.raises(ComposeError, match="x-swarm-a: unknown extension: there is none here"):
            stack(text)


def test_an_extension_of_a_service_becomes_a_label() -> None:
    assert service("x-swarm-on-rotate: restart").labels["swarm.x.on-rotate"] == "restart"
    assert service("x-note: anything").labels.keys() == {"com.docker.stack.namespace", "com.docker.stack.image"}


def test_what_has_no_effect_is_warned_of() -> None:
    made = stack(PAIR.format(web="depends_on: {db: {restart: true}}", db=""))
    assert "services.web.depends_on.db.restart has no effect" in " ".join(made.warnings)


@pytest.mark.parametrize(("given", "place"), [("[cache, db]", "f:4:5"), ("{cache: {}, db: {}}", "f:4:18")])
def test_a_dependency_that_is_not_there_is_warned_of(given: str, place: str) -> None:
    made = stack(PAIR.format(web=f"depends_on: {given}", db=""))
    assert made.warnings == (f"{place}: services.web.depends_on.cache: has no effect: the files have no service cache",)
    assert made.services["web"].labels["swarm.x.depends-on"] == "shop_db=started"
    assert not stack(PAIR.format(web="depends_on: {cache: {required: false}}", db="")).warnings


def test_content_may_come_from_the_environment_and_is_not_shown() -> None:
    text = "services: {}\nsecrets: {key: {environment: KEY}}\nconfigs: {motd: {environment: MOTD}}\n"
    config = load([ComposeFile("f", text)], {"KEY": "hush", "MOTD": "hello", "OTHER": "x"}, read, "/project")
    made = convert(config, "shop", read)
    assert made.secrets["shop_key"].data == b"hush"
    assert made.configs["shop_motd"].data == b"hello"
    assert "hush" not in render(config) + repr(config)


def test_what_the_manager_would_refuse_is_told_with_its_place() -> None:
    text = """services:
  a: {image: a, deploy: {placement: {constraints: [node.role == worker, "node.rolle == worker"]}}}
  b: {image: b, hostname: "{{.Node.Hostname}}"}
  c: {image: c, environment: ["X={{.Task.Slto}}"]}
"""
    first, second = refusal(lambda: stack(text)).splitlines()
    assert first.startswith(
        "f:2:73: services.a.deploy.placement.constraints[1]: invalid constraint 'node.rolle == worker': unknown key"
    )
    assert second.startswith("f:4:3: services.c: cannot expand the environment 'X={{.Task.Slto}}': ")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("environment: NOT_SET", "f:3:9: secrets.key.environment: the variable NOT_SET is not set"),
        ("environment: EMPTY", "the variable EMPTY has 0 bytes; a secret has at least 1"),
        ("environment: A, file: ./secret", 'needs one of "file", "environment" and "external: true"'),
        ("labels: {}", 'needs one of "file", "environment" and "external: true"'),
    ],
)
def test_content_that_is_not_there_is_an_error(entry: str, words: str) -> None:
    text = f"services: {{}}\nsecrets:\n  key: {{{entry}}}\n"
    with pytest.raises(ComposeError) as caught:
        convert(load([ComposeFile("f", text)], {"EMPTY": "", "A": "a"}, read, "/project"), "shop", read)
    assert words in str(caught.value)


def test_affinities_name_the_services_of_the_file() -> None:
    text = (
        "services:\n"
        "  web:\n    image: web\n    x-swarm-affinity: {db: 2, other_stack_cache: 1}\n"
        "    x-swarm-anti-affinity: [batch]\n    x-swarm-strategy: binpack\n"
        "  db: {image: db}\n  batch: {image: batch}\n"
    )
    labels = stack(text).services["web"].labels
    assert labels["swarm.x.affinity"] == "shop_db=2,other_stack_cache=1"
    assert labels["swarm.x.anti-affinity"] == "shop_batch"
    assert labels["swarm.x.strategy"] == "binpack"
    with pytest.raises(ComposeError, match=r"x-swarm-affinity: expected SERVICE\[=WEIGHT\]"):
        stack(text.replace("{db: 2,", "{db: 0,"))
