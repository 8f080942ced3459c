"""Whatever an honest worker has to say, each of its messages is as small as a manager lets it be, and it says all."""

import asyncio
from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from common.model.service import PortConfig
from common.model.task import TaskStatus
from common.wire.allowances import ALLOWANCES, SIZES, fitting
from common.wire.codec import MESSAGE_TYPES, encode
from common.wire.image_messages import FetchImage, SpareImages
from common.wire.message import Message
from common.wire.messages import PROTOCOL_VERSION, Hello, NodeReport, StatusReport
from common.wire.server import FIRST_FRAME_BYTES
from tests.fakes.engine import FakeEngine
from tests.fakes.structs import structs
from tests.fakes.worker_parts import FakeNetworks
from worker.host.description import HostDescription, Identity
from worker.interfaces.volumes import NO_VOLUMES
from worker.link.reporter import Reporter

texts = st.text(max_size=30)
statuses = st.builds(
    TaskStatus,
    message=st.integers(0, 20_000).map("é".__mul__),
    err=st.integers(0, 20_000).map("x".__mul__),
    ports=st.integers(0, 3000).map(lambda count: (PortConfig(target_port=80, published_port=65535),) * count),
    addresses=st.dictionaries(texts, texts, max_size=20),
    hostname=texts,
)


def test_every_allowed_kind_exists_and_lists_what_it_claims() -> None:
    assert set(ALLOWANCES) <= set(MESSAGE_TYPES)
    for kind, allowed in ALLOWANCES.items():
        assert not allowed.entries or allowed.entries in kind.__struct_fields__


@settings(deadline=None, max_examples=60)
@given(st.lists(statuses, max_size=40))
def test_all_states_are_reported_in_messages_within_bounds(said: list[TaskStatus]) -> None:
    async def report() -> set[str]:
        reporter, heard = Reporter(), set()
        for number, status in enumerate(said):
            reporter.update(f"t{number}", status)
        while reporter.unconfirmed:
            number, batch = await reporter.take()
            assert len(encode(StatusReport(tasks=batch), 2**63 - 1)) <= SIZES[StatusReport.KIND]
            assert batch
            heard |= {each.task_id for each in batch}
            reporter.confirmed(number)
        return heard

    assert asyncio.run(report()) == {f"t{number}" for number in range(len(said))}


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 20_000).map(lambda size: "k=" + "v" * size), max_size=20),
    st.lists(st.integers(0, 20_000).map("p".__mul__), max_size=20),
    st.lists(st.integers(0, 20_000).map("é".__mul__), max_size=20),
    st.integers(0, 3000),
)
def test_a_hosts_description_is_bounded_whatever_its_engine_says(
    labels: list[str], plugins: list[str], lacks: list[str], addresses: int
) -> None:
    resources = [{"NamedResourceSpec": {"Kind": "gpu", "Value": name}} for name in plugins]
    info = {"Name": "h", "Labels": labels, "Plugins": {"Volume": plugins}, "GenericResources": resources}
    engine, networks = FakeEngine({}), FakeNetworks()
    networks.ipv6_addresses = lambda: [f"2001:db8::{number:x}" for number in range(addresses)]  # type: ignore[method-assign]
    host = HostDescription(
        Identity(node_id="n1", version="1.0"), engine, networks, NO_VOLUMES, lambda: lacks, lambda: None
    )
    host._info = info
    host._describe()
    found = host.description
    assert len(encode(NodeReport(description=found))) <= SIZES[NodeReport.KIND]
    assert len(encode(Hello(protocol=PROTOCOL_VERSION, description=found, advertise_addr="::1"))) <= FIRST_FRAME_BYTES


@settings(deadline=None)
@given(st.lists(st.one_of(*(structs(kind) for kind in ALLOWANCES)), max_size=200), st.integers(0, 5000))
def test_what_fits_is_the_front_and_no_more_would(entries: Sequence[Message], size: int) -> None:
    taken = fitting(entries, size)
    assert tuple(entries[: len(taken)]) == taken
    assert _bytes(taken) <= size
    assert len(taken) == len(entries) or _bytes(entries[: len(taken) + 1]) > size


@given(st.integers(0, 5000))
def test_ids_and_names_within_limits_fit_in_a_message(count: int) -> None:
    ids = fitting([f"sha256:{number:064x}" for number in range(count)])
    nodes = fitting([f"node{number:021}" for number in range(count)])
    assert len(encode(SpareImages(image_ids=ids), 2**63 - 1)) <= SIZES[SpareImages.KIND]
    assert len(encode(FetchImage(image_id="sha256:" + "0" * 64, failed=nodes), 1)) <= SIZES[FetchImage.KIND]
    assert ids or not count


def _bytes(entries: Sequence[Message]) -> int:
    return sum(len(msgspec.msgpack.encode(entry)) for entry in entries)
