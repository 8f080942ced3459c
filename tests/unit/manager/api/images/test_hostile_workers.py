"""A worker that lies about images: what it says of a name means nothing to anybody."""

import random
import time

import msgspec
import pytest

from common.wire.image_messages import ImageSeen
from common.wire.messages import AnyMessage
from manager.dispatch.images import ImageBroker
from manager.dispatch.streams import Streams
from manager.store.transaction import Transaction
from tests.fakes.api_client import Client
from tests.fakes.api_cluster import WORKER1, WORKER2, ApiCluster

EVIL = "sha256:" + "e" * 64


class EvilWorker:
    """Says of whatever it is asked that it has it: its own image, named in the future."""

    async def send(self, message: AnyMessage) -> None:
        del message

    async def seek(self, reference: str) -> ImageSeen:
        del reference
        return ImageSeen(image_id=EVIL, tagged_at=time.time() + 1e6, size=7, os="linux", architecture="amd64")

    async def bring(self, image_id: str) -> str:
        return image_id


class HonestWorker(EvilWorker):
    async def seek(self, reference: str) -> ImageSeen:
        del reference
        return ImageSeen()


@pytest.fixture
def evil(cluster: ApiCluster) -> None:
    sessions = {WORKER1: EvilWorker(), WORKER2: HonestWorker()}
    broker = ImageBroker(cluster.store, random.Random(1), sessions, Streams(random.Random(2)))
    cluster.engines.image_holders = broker.holders


async def drain(cluster: ApiCluster) -> None:
    def write(tx: Transaction) -> None:
        node = tx.nodes.get(WORKER1)
        assert node is not None
        tx.put(msgspec.structs.replace(node, spec=msgspec.structs.replace(node.spec, availability="drain")))

    await cluster.store.update(write)


async def image_of_new_service(client: Client, image: str) -> str:
    spec = {"Name": "web", "TaskTemplate": {"ContainerSpec": {"Image": image}}}
    assert (await client.ask("POST", "/services/create", spec))[0] == 201
    return (await client.get("/services/web"))["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]


@pytest.mark.parametrize("drained", [False, True])
@pytest.mark.parametrize("name", ["web:latest", "nginx:1.27"])
@pytest.mark.usefixtures("evil")
async def test_no_service_is_pinned_to_what_a_worker_says_of_a_name(
    client: Client, cluster: ApiCluster, name: str, *, drained: bool
) -> None:
    if drained:
        await drain(cluster)
    assert await image_of_new_service(client, name) == name


@pytest.mark.parametrize("name", ["web:latest", "nginx:1.27"])
@pytest.mark.usefixtures("evil")
async def test_no_worker_answers_in_a_registrys_place(client: Client, name: str) -> None:
    status, answer = await client.ask("GET", f"/distribution/{name}/json")
    assert status >= 400, answer
