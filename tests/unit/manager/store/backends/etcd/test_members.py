"""The members of etcd as its gateway tells them, and what is asked of it."""

from __future__ import annotations

import msgspec
import pytest

from manager.store.backends.etcd.api import NoAnswer
from manager.store.backends.etcd.members import Member, Members, Status


class Told:
    """Answers each call with `content`, and remembers what was asked."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[tuple[str, object]] = []

    async def call(self, path: str, body: bytes) -> bytes:
        self.asked.append((path, msgspec.json.decode(body)))
        return self.content


MEMBERS = b"""{"header":{"cluster_id":"1"},"members":[
    {"ID":"11101954650051994516","name":"a","peerURLs":["https://10.0.0.1:2380"],"clientURLs":["http://127.0.0.1:9"]},
    {"ID":"7","peerURLs":["https://10.0.0.2:2380"],"isLearner":true}]}"""


async def test_members_are_listed_added_promoted_and_removed() -> None:
    told = Told(MEMBERS)
    members = Members(told)
    expected = (
        Member(11101954650051994516, "a", "https://10.0.0.1:2380"),
        Member(7, "", "https://10.0.0.2:2380", learner=True),
    )
    assert await members.list() == expected
    assert await members.add_learner("https://10.0.0.2:2380") == expected
    assert await members.promote(7) == expected
    assert await members.remove(11101954650051994516) == expected
    assert told.asked == [
        ("/v3/cluster/member/list", {"linearizable": True}),
        ("/v3/cluster/member/add", {"peerURLs": ["https://10.0.0.2:2380"], "isLearner": True}),
        ("/v3/cluster/member/promote", {"ID": "7"}),
        ("/v3/cluster/member/remove", {"ID": "11101954650051994516"}),
    ]


@pytest.mark.parametrize(
    ("listed", "taken_over"),
    [
        (b'[{"id":7,"peerURLs":["https://10.0.0.2:2380"],"name":"b"}]', False),  # as it was told at its start
        (b'[{"id":1,"clientURLs":["http://127.0.0.1:9"]},{"id":7,"isLearner":true}]', False),
        (b'[{"id":7,"isLearner":true,"name":"b","clientURLs":["http://127.0.0.1:9"]}]', True),
    ],
)
async def test_a_learner_is_asked_whether_it_has_taken_over(listed: bytes, *, taken_over: bool) -> None:
    asked: list[tuple[str, str]] = []

    async def ask_peer(url: str, path: str) -> bytes:
        asked.append((url, path))
        return listed

    learner = Member(7, "b", "https://10.0.0.2:2380", learner=True)
    assert await Members(Told(b""), ask_peer).has_taken_over(learner) is taken_over
    assert asked == [("https://10.0.0.2:2380", "/members")]


async def test_a_member_tells_its_state() -> None:
    told = Told(
        b'{"header":{"member_id":"7","revision":"302"},"version":"3.5.16","dbSize":"135168","leader":"9",'
        b'"raftIndex":"4","dbSizeInUse":"126976","errors":["memberID:7 alarm:NOSPACE "]}'
    )
    assert await Members(told).status() == Status(7, 9, 302, 135168, 126976, ("memberID:7 alarm:NOSPACE ",))


async def test_what_cannot_be_read_is_no_answer() -> None:
    with pytest.raises(NoAnswer, match="cannot be read"):
        await Members(Told(b'{"members":[{"ID":"x"}]}')).list()
