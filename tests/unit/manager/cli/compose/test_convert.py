import pytest

from common.model.container import (
    ConfigReference,
    DriverConfig,
    FileTarget,
    RuntimeTarget,
    SecretReference,
)
from common.model.network import IpamConfig
from common.model.service import (
    NetworkAttachmentConfig,
)
from manager.cli.compose import ComposeError, ComposeFile, convert, load, render
from tests.unit.manager.cli.compose.stacks import read, refusal, service, stack


def test_names_and_labels_are_those_of_a_stack() -> None:
    spec = service("labels: {a: b}\ndeploy: {labels: {c: d}}")
    assert spec.name == "shop_web"
    assert spec.labels == {"c": "d", "com.docker.stack.image": "web:1", "com.docker.stack.namespace": "shop"}
    inner = spec.task_template.container_spec
    assert inner is not None
    assert inner.labels == {"a": "b", "com.docker.stack.namespace": "shop"}


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


def test_a_configs_content_may_be_in_the_file() -> None:
    text = "name: other\nservices: {}\nconfigs: {motd: {content: 'hello $NAME'}}\n"
    made = convert(load([ComposeFile("f", text)], {"NAME": "world"}, read, "/project"), "shop", read)
    assert [(name, each.data) for name, each in made.configs.items()] == [("shop_motd", b"hello world")]
    for wrong in ("content: x, file: ./y", "content: ''"):
        with pytest.raises(ComposeError, match='needs one of "file", "environment", "content" and "external: true"'):
            load([ComposeFile("f", f"services: {{}}\nconfigs: {{motd: {{{wrong}}}}}\n")], {}, read, "/project")


def test_content_may_come_from_the_environment_and_is_not_shown() -> None:
    text = "services: {}\nsecrets: {key: {environment: KEY}}\nconfigs: {motd: {environment: MOTD}}\n"
    config = load([ComposeFile("f", text)], {"KEY": "hush", "MOTD": "hello", "OTHER": "x"}, read, "/project")
    made = convert(config, "shop", read)
    assert made.secrets["shop_key"].data == b"hush"
    assert made.configs["shop_motd"].data == b"hello"
    assert "hush" not in render(config) + repr(config)


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
