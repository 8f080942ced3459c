import pytest

from common.model.container import BindOptions, DriverConfig, Mount, TmpfsOptions, VolumeOptions
from common.model.service import NetworkAttachmentConfig
from manager.cli.flags.types import parse_credential_spec, parse_domain, parse_mount, parse_network, parse_preference


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("target=/data", Mount(target="/data")),
        ("source=data,dst=/data,readonly", Mount(source="data", target="/data", read_only=True)),
        ("type=bind,src=/a,destination=/b,ro=false", Mount(type="bind", source="/a", target="/b")),
        (
            "type=bind,src=/a,target=/b,bind-propagation=rshared",
            Mount(type="bind", source="/a", target="/b", bind_options=BindOptions(propagation="rshared")),
        ),
        (
            "type=tmpfs,target=/t,tmpfs-size=10m,tmpfs-mode=1770",
            Mount(type="tmpfs", target="/t", tmpfs_options=TmpfsOptions(size_bytes=10 << 20, mode=0o1770)),
        ),
        (
            'source=v,target=/v,volume-nocopy,volume-driver=nfs,"volume-opt=o=addr=1,rw",volume-label=a=b',
            Mount(
                source="v",
                target="/v",
                volume_options=VolumeOptions(
                    no_copy=True, labels={"a": "b"}, driver_config=DriverConfig(name="nfs", options={"o": "addr=1,rw"})
                ),
            ),
        ),
    ],
)
def test_mounts(text: str, mount: Mount):
    assert parse_mount(text) == mount


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("nonsense", "must be a key=value pair"),
        ("source=a", "target is required"),
        ("type=bind,target=/x", "source is required"),
        ("type=disk,target=/x", "invalid mount type"),
        ("target=/x,nope=1", "unexpected key 'nope'"),
        ("target=/x,readonly=maybe", "invalid value for readonly"),
        ("target=/x,bind-propagation=shared", "cannot mix 'bind-\\*' options with mount type 'volume'"),
        ("type=tmpfs,target=/x,tmpfs-size=big", "invalid value for tmpfs-size"),
        ("type=tmpfs,target=/x,tmpfs-mode=9", "invalid value for tmpfs-mode"),
        ("type=bind,source=/a,target=/b,bind-recursive=readonly", "requires 'readonly'"),
    ],
)
def test_wrong_mounts_say_what_is_wrong(text: str, why: str):
    with pytest.raises(ValueError, match=why):
        parse_mount(text)


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
