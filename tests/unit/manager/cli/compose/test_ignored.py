"""What is accepted and has no effect is told once a key, with its place and what to do."""

import pytest

from tests.unit.manager.cli.compose.loading import WEB, loaded


def test_each_key_is_told_at_its_first_place() -> None:
    config = loaded(
        "services:\n"
        "  a: {image: a, build: ., container_name: x, links: [b], restart: always}\n"
        "  b: {image: b, expose: [80], links: [a], depends_on: [a]}\n"
        "  c: {image: b, links: [a]}\n"
    )
    container, expose, links = config.warnings
    assert container.startswith("1.yaml:2:27: services.a.container_name: has no effect in a stack: tasks are named by ")
    assert expose.startswith("1.yaml:3:17: services.b.expose: has no effect in a stack: services of one network reach ")
    assert links.startswith("1.yaml:2:46: services.a.links: has no effect in a stack (and in 2 more places): ")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "network_mode: host",
            "network_mode: has no effect in a stack: for the host's own network write `networks: [host]`",
        ),
        ("external_links: [a]", "external_links: has no effect in a stack: join a network that is external"),
        ("develop: {watch: [{path: .}]}", "develop: has no effect in a stack: it is for `docker compose watch`"),
        ("attach: false", "attach: has no effect in a stack: logs are read with `service logs`"),
        ("pull_policy: always", "pull_policy: has no effect in a stack: `stack deploy --resolve-image always|"),
        ('restart: "no"', "restart: has no effect in a stack: in a stack, as in Docker, `no` restarts what ends"),
        (
            "networks: {n: {ipv4_address: 10.0.0.2}}",
            "networks.n.ipv4_address: has no effect in a stack: replicas cannot",
        ),
        (
            "networks: {n: {ipv6_address: 'fd00::2'}}",
            "networks.n.ipv6_address: has no effect in a stack: replicas cannot",
        ),
    ],
)
def test_what_has_no_effect_says_what_to_do(line: str, words: str) -> None:
    (warning,) = loaded(f"{WEB}    {line}\n").warnings
    assert f"services.web.{words}" in warning


@pytest.mark.parametrize(
    "line",
    [
        "restart: always",
        'restart: "no"\n    deploy: {restart_policy: {condition: none}}',
        'restart: "no"\n    deploy: {mode: replicated-job}',
        "networks: {n: {aliases: [a]}, m: }",
    ],
)
def test_what_has_an_effect_is_not_told(line: str) -> None:
    assert loaded(f"{WEB}    {line}\n").warnings == ()
