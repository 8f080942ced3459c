"""The reader of engines' answers: bounds, kinds, and that nothing of a right answer is lost."""

import ipaddress
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from manager.api.engine import types as engine_types
from manager.api.engine.answers import BadAnswer, read, read_list
from manager.api.http.answer_memory import FREE, MAX_REPLY, MIB, AnswerMemory
from manager.api.http.bounded_json import MAX_DEPTH, MAX_VALUES, WrongJson, decode
from tests.fakes import engine_answers as real
from tests.hostile.wrong_json import RAW

KINDS = [
    (real.CONTAINER, engine_types.Container),
    (real.IMAGE, engine_types.Image),
    (real.VOLUME, engine_types.Volume),
    (real.USAGE["Volumes"][0], engine_types.Volume),
    (real.BUILD_RECORD, engine_types.BuildRecord),
    (real.CONTAINER_INSPECT, engine_types.ContainerInspect),
    (real.IMAGE_INSPECT, engine_types.ImageInspect),
    (real.EVENTS[0], engine_types.Event),
    (real.EVENTS[1], engine_types.Event),
]


def raws(*items: Any) -> list[msgspec.Raw]:
    return msgspec.json.decode(json.dumps(items), type=list[msgspec.Raw])


@pytest.mark.parametrize(("value", "kind"), KINDS)
async def test_what_a_real_engine_says_comes_through_whole(value: Any, kind: Any) -> None:
    assert read(json.dumps(value).encode(), kind) == value
    if kind not in (engine_types.ContainerInspect, engine_types.ImageInspect):
        assert await read_list(raws(value), kind) == [value]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Id": "../x"}, r"matching regex .* at `\$.Id`"),
        ({"Id": 5}, r"Expected `str`, got `int` - at `\$.Id`"),
        ({"Created": "now"}, "Created"),
        ({"Created": 2**63}, "Created"),
        ({"Created": 1.5}, "Created"),
        ({"Labels": ["a"]}, r"Expected `object \| null`, got `array`"),
        ({"Labels": {"a": 1}}, "Labels"),
        ({"Names": ["/a\x1b[2J"]}, "Names"),
        ({"Ports": [{"PublicPort": 65536}]}, r"Ports\[0\].PublicPort"),
        ({"Ports": [{"IP": "1.2.3.256"}]}, r"Ports\[0\].IP"),
        ({"NetworkSettings": {"Networks": {"a": {"IPAddress": "x"}}}}, "IPAddress"),
        ({"NetworkSettings": []}, "NetworkSettings"),
        ({"SizeRw": 2**60}, "SizeRw"),
        ({"Mounts": {"a": 1}}, "Mounts"),
    ],
)
async def test_an_entry_with_a_field_of_another_kind(change: dict[str, Any], words: str) -> None:
    with pytest.raises(WrongJson, match=words):
        await read_list(raws({**real.CONTAINER, **change}), engine_types.Container)


async def test_an_entry_has_no_field_that_the_api_does_not_have() -> None:
    """A client in Go takes `id` for `Id`, and one wrong field costs it the whole list."""
    odd = {**real.CONTAINER, "iD": [], "labels": 5, "x": 1, "HostConfig": {"NetworkMode": "bridge", "networkmode": []}}
    assert await read_list(raws(odd), engine_types.Container) == [real.CONTAINER]


@pytest.mark.parametrize("raw", RAW)
def test_what_is_no_json(raw: str) -> None:
    if raw == "1" + "0" * 400:
        return  # JSON has numbers of any size; where one is expected, its size is
    for text in (raw, f'{{"a":{raw}}}', f"[1,{raw}]"):
        with pytest.raises(WrongJson):
            decode(text.encode("utf-8", "surrogatepass"))


def test_bounds() -> None:
    assert decode(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(WrongJson, match="nested deeper"):
        decode(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))
    with pytest.raises(WrongJson, match="nested deeper"):
        decode(b"[" * 100_000)
    assert decode(b"[" + b"[]," * 1000 + b"[]]") == [[]] * 1001
    with pytest.raises(WrongJson, match="more than"):
        decode(b"[" + b"[]," * MAX_VALUES + b"[]]")
    with pytest.raises(WrongJson, match="not JSON"):
        decode(b'"\xff"')


ADDRESSES = st.one_of(
    st.ip_addresses().map(str),
    st.ip_addresses(v=6).map(lambda address: address.exploded),
    st.from_regex(r"[0-9a-f:.]{0,20}", fullmatch=True),
    st.from_regex(r"(([0-9]{1,3}\.){3}[0-9]{1,3}|([0-9a-f]{0,4}:){1,8}[0-9a-f]{0,4})\n?", fullmatch=True),
)


def is_address(text: str) -> bool:
    try:
        return bool(ipaddress.ip_address(text))
    except ValueError:
        return False


@given(ADDRESSES)
@example("0:0:0:0:0:0:0::")
def test_addresses_are_addresses(text: str) -> None:
    try:
        msgspec.convert(text, engine_types.Address)
    except msgspec.ValidationError:
        # Engines write neither an IPv4 address in an IPv6 one, nor "::" for a single group at an end.
        assert not is_address(text) or (":" in text and "." in text) or text.count(":") == 8
    else:
        assert text == "" or is_address(text)


# --- memory -----------------------------------------------------------------------------------------------------------


def test_small_answers_are_never_refused() -> None:
    memory = AnswerMemory(total=0)
    with memory.lease() as lease:
        hold = lease.answer("n", "w1")
        hold.charge(FREE)
        assert memory.held == 0
        with pytest.raises(BadAnswer, match="node w1 sends too much at once"):
            hold.charge(1)


def test_one_node_leaves_room_for_others() -> None:
    memory = AnswerMemory(total=10 * MIB, of_node=4 * MIB)
    with memory.lease() as lease:
        lease.answer("evil", "evil").charge(FREE + 4 * MIB)
        with pytest.raises(BadAnswer):
            lease.answer("evil", "evil").charge(FREE + 1)
        lease.answer("good", "good").charge(FREE + 4 * MIB)
        assert memory.held == 8 * MIB
        with memory.lease() as other, pytest.raises(BadAnswer):
            other.answer("third", "third").charge(FREE + 4 * MIB)
    assert memory.held == 0
    with memory.lease() as lease:
        lease.answer("evil", "evil").charge(FREE + 4 * MIB)


def test_what_is_decoded_counts_as_what_it_takes() -> None:
    memory = AnswerMemory()
    with memory.lease() as lease:
        hold = lease.answer("n", "w1")
        wide = b"[" + b"[]," * 500_000 + b"[]]"
        hold.charge(len(wide))
        hold.charge_decoding(b"[" + b"[]," * 100_000 + b"[]]")
        with pytest.raises(BadAnswer):
            hold.charge_decoding(wide)
        assert 13 * MIB < memory.held <= 64 * MIB


def test_an_answer_has_an_end() -> None:
    with AnswerMemory().lease() as lease:
        hold = lease.answer("n", "w1")
        hold.charge(MAX_REPLY)
        with pytest.raises(BadAnswer, match="more than 16 MiB"):
            hold.charge(1)
