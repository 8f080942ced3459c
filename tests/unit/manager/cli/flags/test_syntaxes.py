"""The other syntaxes of flags: ports, secrets, networks, limits, pairs, addresses."""

from pathlib import Path

import pytest

from common.errors import InvalidArgument
from common.model.container import ConfigReference, FileTarget, SecretReference, Ulimit
from common.model.service import (
    DiscreteResourceSpec,
    GenericResource,
    NamedResourceSpec,
    NetworkAttachmentConfig,
    PortConfig,
)
from manager.cli.flags.keyvalue import (
    merge_variables,
    parse_host,
    parse_label,
    parse_pair,
    parse_variable,
    read_env_file,
    remove_hosts,
)
from manager.cli.flags.limits import capability, merge_capabilities, merge_ulimits, parse_generic, parse_ulimit
from manager.cli.flags.publish import matching_ports, parse_publish
from manager.cli.flags.references import parse_config, parse_secret, with_config_ids, with_secret_ids
from manager.cli.flags.types import parse_credential_spec, parse_domain, parse_network, parse_preference
from manager.cli.network.network import ipam_configs


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [PortConfig(target_port=80)]),
        ("8080:80/udp", [PortConfig(target_port=80, published_port=8080, protocol="udp")]),
        (
            "8080-8081:80-81",
            [PortConfig(target_port=80, published_port=8080), PortConfig(target_port=81, published_port=8081)],
        ),
        ("127.0.0.1:8080:80", [PortConfig(target_port=80, published_port=8080, host_ip="127.0.0.1")]),
        (
            "published=8080,target=80,mode=host,protocol=SCTP",
            [PortConfig(target_port=80, published_port=8080, publish_mode="host", protocol="sctp")],
        ),
    ],
)
def test_ports(text: str, ports: list[PortConfig]):
    assert list(parse_publish(text)) == ports


@pytest.mark.parametrize(
    "text", ["x", "99999", "8080:80/icmp", "published=1", "target=x", "target=1,mode=odd", "target=1,no=2", "1-3:1-2"]
)
def test_wrong_ports(text: str):
    with pytest.raises(ValueError, match=r"\w"):
        parse_publish(text)


def test_a_port_is_removed_by_target_protocol_and_mode():
    (removed,) = parse_publish("80")
    (other,) = parse_publish("9000:80/udp")
    port = PortConfig(target_port=80, published_port=9000)
    assert matching_ports([port, other], removed) == [port]
    assert matching_ports([other], removed) == []


def test_the_named_published_port_of_a_shared_target_is_removed():
    ports = [PortConfig(target_port=80, published_port=number) for number in (8080, 8090)]
    for text, gone in (
        ("8090:80", ports[1:]),
        ("published=8080,target=80", ports[:1]),
        ("80", ports),
        ("9999:80", ports),
    ):
        (removed,) = parse_publish(text)
        assert matching_ports(ports, removed) == gone, text


def test_secrets_and_configs():
    assert parse_secret("key") == SecretReference(secret_name="key", file=FileTarget(name="key"))
    full = parse_secret("source=key,target=/k,uid=1,gid=2,mode=0400")
    assert full.file == FileTarget(name="/k", uid="1", gid="2", mode=0o400)
    assert parse_config("source=c,target=/etc/c") == ConfigReference(config_name="c", file=FileTarget(name="/etc/c"))
    for wrong in ("target=x", "source=a,mode=9", "source=a,what=b"):
        with pytest.raises(ValueError, match=r"\w"):
            parse_secret(wrong)


def test_references_get_their_ids():
    assert with_secret_ids((parse_secret("key"),), {"key": "id1"})[0].secret_id == "id1"
    assert with_config_ids((parse_config("c"),), {"c": "id2"})[0].config_id == "id2"
    with pytest.raises(ValueError, match="secret not found: key"):
        with_secret_ids((parse_secret("key"),), {})
    with pytest.raises(ValueError, match="duplicate config target for c"):
        with_config_ids((parse_config("c"), parse_config("source=d,target=c")), {"c": "1", "d": "2"})


def test_networks_preferences_and_credential_specs():
    assert parse_network("net") == NetworkAttachmentConfig(target="net")
    assert parse_network("name=net,alias=a,alias=b,driver-opt=k=v") == NetworkAttachmentConfig(
        target="net", aliases=("a", "b"), driver_opts={"k": "v"}
    )
    assert parse_credential_spec("config://c").config == "c"
    for wrong, parse in (("alias=a", parse_network), ("spread", parse_preference), ("pack=x", parse_preference)):
        with pytest.raises(ValueError, match=r"\w"):
            parse(wrong)
    with pytest.raises(ValueError, match="prefixed"):
        parse_credential_spec("c")


def test_ulimits():
    assert parse_ulimit("nofile=10") == Ulimit(name="nofile", soft=10, hard=10)
    assert parse_ulimit("core=0:-1") == Ulimit(name="core", soft=0, hard=-1)
    later = merge_ulimits([parse_ulimit("nofile=1"), parse_ulimit("core=2"), parse_ulimit("nofile=3")], ["core"])
    assert later == (Ulimit(name="nofile", soft=3, hard=3),)
    for wrong in ("nofile", "files=1", "nofile=x", "nofile=2:1", "nofile=-1:5"):
        with pytest.raises(ValueError, match=r"\w"):
            parse_ulimit(wrong)


def test_generic_resources():
    count = GenericResource(discrete_resource_spec=DiscreteResourceSpec(kind="gpu", value=2))
    named = GenericResource(named_resource_spec=NamedResourceSpec(kind="disk", value="ssd"))
    assert parse_generic("gpu=2,disk=ssd") == (count, named)
    for wrong in ("gpu", "gpu=", "gpu=-1"):
        with pytest.raises(ValueError, match=r"\w"):
            parse_generic(wrong)


def test_a_capability_that_is_given_undoes_its_opposite():
    assert [capability(text) for text in ("net_admin", "CAP_CHOWN", "all")] == ["CAP_NET_ADMIN", "CAP_CHOWN", "ALL"]
    assert merge_capabilities(("CAP_A",), ("CAP_B",), ("CAP_B",), ("CAP_A",)) == ((), ())
    assert merge_capabilities((), (), ("CAP_A",), ("CAP_A",)) == (("CAP_A",), ())
    assert merge_capabilities(("CAP_A",), ("CAP_B",), ("RESET", "CAP_C"), ("RESET",)) == (("CAP_C",), ())
    assert merge_capabilities(("CAP_A",), (), ("ALL",), ()) == (("ALL",), ())


def test_pairs_and_variables():
    assert parse_pair("a=b=c") == ("a", "b=c")
    assert parse_pair("a") == ("a", "")
    assert parse_variable("A=b", {}) == "A=b"
    assert parse_variable("A", {"A": "here"}) == "A=here"
    assert parse_variable("A", {}) == "A"
    assert merge_variables(["A=1", "B=2", "A=3"], ["B"]) == ("A=3",)
    for wrong in ("=x", ""):
        with pytest.raises(ValueError, match=r"\w"):
            parse_pair(wrong)


def test_labels():
    assert parse_label("a=b c") == ("a", "b c")
    with pytest.raises(ValueError, match="label 'a b' contains whitespaces"):
        parse_label("a b=c")


def test_search_domains():
    assert [parse_domain(each) for each in ("example.com", "a-b.c.", ".", " lan ")] == [
        "example.com",
        "a-b.c.",
        ".",
        "lan",
    ]
    for wrong in ("", "a b", "-a", "a..b", "1.2", "a\nnameserver 1.1.1.1"):
        with pytest.raises(ValueError, match="is not a valid domain"):
            parse_domain(wrong)


def test_environment_files(tmp_path: Path):
    file = tmp_path / "env"
    file.write_text("\ufeff# a comment\n\nA=1 # kept\n  B\nC\nD=\n")
    assert read_env_file(str(file), {"B": "2"}) == ["A=1 # kept", "B=2", "D="]
    file.write_text("A B=1")
    with pytest.raises(ValueError, match="contains whitespaces"):
        read_env_file(str(file), {})


def test_hosts():
    assert parse_host("db:10.0.0.1") == "10.0.0.1 db"
    assert parse_host("db:2001:db8::1") == "2001:db8::1 db"
    assert parse_host("host.docker.internal:host-gateway") == "host-gateway host.docker.internal"
    assert remove_hosts(["10.0.0.1 db cache", "10.0.0.2 db"], ["db:10.0.0.1"]) == ("10.0.0.1 cache", "10.0.0.2 db")
    assert remove_hosts(["10.0.0.1 db"], ["db"]) == ()
    for wrong in ("db", "db:nowhere"):
        with pytest.raises(ValueError, match="add-host"):
            parse_host(wrong)


def test_address_ranges_go_to_the_subnet_that_holds_them():
    configs = ipam_configs(
        ["10.1.0.0/16", "2001:db8::/64"], ["10.1.2.0/24"], ["2001:db8::1", "10.1.0.1"], {"router": "10.1.0.9"}
    )
    assert configs == [
        {
            "Subnet": "10.1.0.0/16",
            "IPRange": "10.1.2.0/24",
            "Gateway": "10.1.0.1",
            "AuxiliaryAddresses": {"router": "10.1.0.9"},
        },
        {"Subnet": "2001:db8::/64", "Gateway": "2001:db8::1"},
    ]
    for subnets, ranges, gateways in (
        (["10.0.0.0/8", "10.1.0.0/16"], [], []),
        (["10.0.0.0/8"], ["11.0.0.0/24"], []),
        (["10.0.0.0/8"], [], ["10.0.0.1", "10.0.0.2"]),
        (["x"], [], []),
    ):
        with pytest.raises(InvalidArgument):
            ipam_configs(subnets, ranges, gateways, {})
