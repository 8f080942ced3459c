"""What readers of the feed that read slowly, or nothing, cost the manager and others."""

from collections.abc import Sequence

from manager.api.overview.feed import MOST_UNREAD, MOST_UNREAD_IN_ALL, Follower, Followers

EVENT = b"data: " + b"x" * 10_000 + b"\n\n"
TOPICS = ("overview",)


def followers(others: Followers, client: str, count: int) -> Sequence[Follower]:
    made = [Follower(TOPICS, client, others, names=False) for _ in range(count)]
    others.all.update(made)
    return made


async def drain(follower: Follower) -> bytes:
    read = b""
    while follower.unread:
        read += await follower.next()
    return read


async def test_a_client_that_reads_nothing_takes_a_bounded_amount() -> None:
    others = Followers()
    stalled = followers(others, "viewer", 256)
    (reader,) = followers(others, "dashboard", 1)
    for _ in range(MOST_UNREAD // len(EVENT)):
        for each in (*stalled, reader):
            each.put(EVENT)
        assert others.unread <= MOST_UNREAD_IN_ALL
    assert others.unread == sum(each.unread for each in others.all)
    read = await drain(reader)
    assert read == EVENT * (MOST_UNREAD // len(EVENT))
    assert b"event: reset" in await drain(stalled[0]) + await drain(stalled[1])


async def test_what_a_stream_has_not_read_goes_with_it() -> None:
    others = Followers()
    for each in followers(others, "viewer", 3):
        each.put(EVENT)
        others.discard(each)
    assert (others.unread, others.all) == (0, set())


async def test_a_slow_reader_is_told_that_it_lost_events() -> None:
    others = Followers()
    (reader,) = followers(others, "viewer", 1)
    for _ in range(MOST_UNREAD // len(EVENT) + 1):
        reader.put(EVENT)
    assert (await drain(reader)).startswith(b"event: reset\n")


async def test_few_events_are_given_to_a_connection_at_a_time() -> None:
    others = Followers()
    (reader,) = followers(others, "viewer", 1)
    for _ in range(50):
        reader.put(EVENT)
    assert len(await reader.next()) < 100_000
    assert len(await drain(reader)) > 400_000
    reader.end()
    assert await reader.next() == b""
