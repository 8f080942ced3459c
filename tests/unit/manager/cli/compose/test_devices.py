"""Devices and GPUs as compose files and flags write them."""

import pytest

from common.model.engine_options import DeviceRequest
from manager.cli.compose.devices import parse_count, parse_gpus


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("all", DeviceRequest(count=-1, capabilities=(("gpu",),))),
        ("2", DeviceRequest(count=2, capabilities=(("gpu",),))),
        (
            'driver=nvidia,"device=0,1"',
            DeviceRequest(driver="nvidia", count=0, device_ids=("0", "1"), capabilities=(("gpu",),)),
        ),
        (
            '"capabilities=gpu,utility"',
            DeviceRequest(count=1, capabilities=(("gpu", "utility"),)),
        ),
    ],
)
def test_gpus_are_read_as_docker_reads_them(text: str, request_: DeviceRequest) -> None:
    assert parse_gpus(text) == request_


@pytest.mark.parametrize("text", ["some", "count=1,count=2", "count=1,device=0", "model=x", "-2"])
def test_what_asks_for_no_gpus_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="count"):
        parse_gpus(text)


def test_a_count_is_a_number_or_all() -> None:
    assert [parse_count(text) for text in ("all", "-1", "0", "8")] == [-1, -1, 0, 8]
    with pytest.raises(ValueError, match='"many" is not a count'):
        parse_count("many")
