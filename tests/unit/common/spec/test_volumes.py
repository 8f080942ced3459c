"""Whose the data in a volume is: by its label, else by its driver."""

import pytest

from common.model.container import DriverConfig, Mount, VolumeOptions
from common.spec.volumes import SCOPE_LABEL, is_anonymous, is_shared, scope_of, with_slot


def mount(driver: DriverConfig | None = None, **labels: str) -> Mount:
    options = VolumeOptions(labels={SCOPE_LABEL: labels["scope"]} if labels else {}, driver_config=driver)
    return Mount(type="volume", source="d", target="/d", volume_options=options)


NFS = DriverConfig(name="local", options={"type": "nfs4", "device": ":/export"})


def test_a_label_says_more_than_the_driver() -> None:
    assert scope_of(mount(NFS, scope="node")) == "node"
    assert scope_of(mount(NFS)) == "shared"
    assert scope_of(mount()) == ""
    assert scope_of(Mount(type="volume", source="d", target="/d")) == ""


@pytest.mark.parametrize(
    ("driver", "options", "engine", "shared"),
    [
        ("local", {}, "", False),
        ("", {"type": "tmpfs"}, "", False),
        ("local", {"type": "cifs"}, "local", True),
        ("local", {"type": "fuse.sshfs"}, "", True),
        ("local", {"type": "fuse"}, "", False),
        ("rexray", {}, "global", True),
        ("rexray", {"type": "nfs"}, "local", False),
    ],
)
def test_data_is_shared_where_every_node_reaches_it(
    driver: str, options: dict[str, str], engine: str, *, shared: bool
) -> None:
    assert is_shared(driver, options, engine) is shared


def test_a_name_that_an_engine_made_up_is_64_digits() -> None:
    assert is_anonymous("0123456789abcdef" * 4)
    assert not is_anonymous("0123456789abcdef" * 4 + "0")
    assert not is_anonymous("0123456789ABCDEF" * 4)
    assert not is_anonymous("data")


def test_only_scope_slot_changes_the_name() -> None:
    assert with_slot("d", "slot", 2) == "d.2"
    assert with_slot("d", "", 2) == "d"
    assert with_slot("d", "node", "n1") == "d"
