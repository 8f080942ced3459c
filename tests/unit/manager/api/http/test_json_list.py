"""Lists as JSON, in one piece or in chunks: the same bytes for whoever reads them."""

import json

import pytest

from manager.api.call import Answer, Stream
from manager.api.http.json_list import CHUNK, json_list


async def sent(reply: object) -> list[bytes]:
    assert isinstance(reply, Stream)
    parts: list[bytes] = []

    async def send(data: bytes) -> None:
        parts.append(data)

    await reply.produce(send)
    return parts


def even(number: int) -> bool:
    return number % 2 == 0


async def test_a_short_list_is_one_answer() -> None:
    reply = json_list([1, 2, 4], even, str)
    assert isinstance(reply, Answer)
    assert reply.value == ["2", "4"]


@pytest.mark.parametrize("keep", [even, lambda _: True, lambda _: False, lambda number: number == 3 * CHUNK])
async def test_a_long_list_is_the_same_json_in_chunks(keep: object) -> None:
    numbers = list(range(3 * CHUNK + 1))
    parts = await sent(json_list(numbers, keep, str))  # type: ignore[arg-type]
    assert json.loads(b"".join(parts)) == [str(each) for each in numbers if keep(each)]  # type: ignore[operator]


async def test_values_that_are_much_work_make_chunks_of_their_own() -> None:
    parts = await sent(json_list([1, 2, 3], lambda _: True, str, cost=lambda _: CHUNK))
    assert len(parts) == 4  # three, and the end
    assert json.loads(b"".join(parts)) == ["1", "2", "3"]


async def test_values_can_be_changed_on_their_way() -> None:
    reply = json_list(list(range(CHUNK + 1)), lambda _: True, str)
    assert isinstance(reply, Stream)
    assert reply.mapped is not None
    doubled = await sent(reply.mapped(lambda value: value * 2))
    assert json.loads(b"".join(doubled))[12] == "1212"
