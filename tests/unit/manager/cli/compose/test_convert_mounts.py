"""Volumes, bind mounts and tmpfs of a service."""

import pytest

from common.model.container import (
    DriverConfig,
    Mount,
    TmpfsOptions,
    VolumeOptions,
)
from manager.cli.compose import ComposeError
from tests.unit.manager.cli.compose.stacks import container


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
