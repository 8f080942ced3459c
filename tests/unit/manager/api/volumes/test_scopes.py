"""Who is warned of sharing volumes by accident."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from common.model.container import Mount
from common.model.service import Global, GlobalJob, ServiceMode, ServiceSpec
from manager.api.errors import EngineError
from manager.api.services.validation import check_service
from manager.api.volumes.scopes import unmounted, unscoped
from tests.fakes.api_client import Client
from tests.fakes.volumes import mount, service


def spec(*volumes: str | Mount, replicas: int = 2) -> ServiceSpec:
    return service("db", *volumes, replicas=replicas).spec


def test_several_tasks_with_a_volume_without_scope_are_warned() -> None:
    assert [each.split(", which")[0] for each in unscoped(spec("data", "files"))] == [
        "each node has a volume data of its own",
        "each node has a volume files of its own",
    ]


@pytest.mark.parametrize(
    "wanted",
    [
        spec("data", replicas=1),
        spec(mount("data", "slot")),
        spec(mount("data", type="nfs")),
        spec(mount("data", snapshot="pause")),
        spec("data-{{.Task.Slot}}"),
        spec(),
    ],
)
def test_who_shares_nothing_or_means_it_is_not(wanted: ServiceSpec) -> None:
    assert not unscoped(wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        spec(mount("data-{{.Node.Hostname}}", snapshot="stop")),
        replace(spec(mount("data", snapshot="stop")), mode=ServiceMode(global_=Global())),
        replace(spec(mount("data", snapshot="stop")), mode=ServiceMode(global_job=GlobalJob())),
    ],
)
def test_tasks_stop_for_snapshots_of_what_the_manager_knows(wanted: ServiceSpec) -> None:
    check_service(spec(mount("data-{{.Task.Slot}}", snapshot="stop")))
    with pytest.raises(EngineError, match=r"swarm\.x\.snapshot=stop of volume data"):
        check_service(wanted)


def test_a_change_that_brings_nothing_new_is_silent() -> None:
    assert not unscoped(spec("data", replicas=3), spec("data"))
    assert unscoped(spec("data", replicas=3), spec("data", replicas=1))


async def test_the_warning_comes_with_the_services_id(client: Client) -> None:
    body = {
        "Name": "db",
        "Mode": {"Replicated": {"Replicas": 2}},
        "TaskTemplate": {
            "ContainerSpec": {"Image": "db", "Mounts": [{"Type": "volume", "Source": "data", "Target": "/data"}]}
        },
    }
    _, made = await client.ask("POST", "/services/create", body)
    assert "swarm.x.scope (in a compose file x-swarm-scope)" in made["Warnings"][0]


def test_an_images_volumes_that_nothing_is_mounted_on_are_named() -> None:
    wanted = spec("data", mount("files"))
    assert not unmounted(wanted, ["/data", "/files/"])
    (warned,) = unmounted(wanted, ["/data", "/data/inner"])
    assert warned.startswith("the image keeps data in /data/inner, where nothing is mounted")
    (shown,) = unmounted(wanted, ["/a\x1b[2J"])
    assert "\x1b" not in shown
