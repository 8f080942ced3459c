"""One service of a file as the specification that the API takes."""

import pytest

from common.model.container import (
    DnsConfig,
    DriverConfig,
    HealthConfig,
    Ulimit,
)
from common.model.service import (
    PortConfig,
)
from tests.unit.manager.cli.compose.stacks import container, refusal, service, stack


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


def test_hosts_may_have_an_equals_sign_and_brackets() -> None:
    """As `docker compose config` writes them."""
    hosts = ("10.0.0.1 a", "fd00::1 b", "fd00::2 c")
    assert container("extra_hosts: ['a=10.0.0.1', 'b=[fd00::1]', 'c:[fd00::2]']").hosts == hosts
    assert container("extra_hosts: {a: 10.0.0.1, b: '[fd00::1]', c: 'fd00::2'}").hosts == hosts


def test_adding_a_capability_wins_over_dropping_it() -> None:
    spec = container("cap_add: [CHOWN, ALL]\ncap_drop: [KILL]")
    assert (spec.capability_add, spec.capability_drop) == (("ALL",), ("CAP_KILL",))
    assert container("cap_add: [chown]\ncap_drop: [CAP_CHOWN]").capability_drop == ()


def test_a_log_driver() -> None:
    assert service("logging: {driver: syslog, options: {tag: x}}").task_template.log_driver == DriverConfig(
        name="syslog", options={"tag": "x"}
    )
