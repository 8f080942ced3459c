"""What is believed of the other messages."""

from __future__ import annotations

import math
from typing import Any

import pytest

from common.errors import ProtocolError
from common.wire.image_messages import Brought, FetchImage, ImageHeld, ImageSeen, RelayHello, SpareImages
from common.wire.membership_messages import Applied, Goodbye, Unfit
from common.wire.messages import Heartbeat, Leave, StreamHello, Welcome
from tests.fakes.validation import NOW, validated

IMAGE = "sha256:" + "a" * 64
HONEST = (
    Heartbeat(),
    Leave(),
    Goodbye(host=True),
    Unfit(reason="its engine hangs"),
    Applied(number=3),
    StreamHello(stream_id="s" * 25, error="no engine", half_close=True),
    RelayHello(ticket="t" * 25),
    FetchImage(image_id=IMAGE, failed=("n2",)),
    ImageHeld(image_id=IMAGE),
    ImageSeen(
        image_id=IMAGE,
        repo_digests=(f"localhost:5000/team/web@{IMAGE}",),
        tagged_at=NOW - 5,
        size=1 << 30,
        os="linux",
        architecture="amd64",
    ),
    ImageSeen(),
    SpareImages(image_ids=(IMAGE,)),
    Brought(name="localhost:5000/web:1.27-alpine"),
    Brought(error="no such image"),
)


@pytest.mark.parametrize("message", HONEST, ids=lambda message: type(message).__name__)
def test_an_honest_worker_is_believed(message: Any) -> None:
    taken, refused = validated(message)
    assert taken is message
    assert not refused


@pytest.mark.parametrize(
    ("message", "expected", "field"),
    [
        (Applied(number=0), None, "Applied.number"),
        (Applied(number=-(2**60)), None, "Applied.number"),
        (StreamHello(stream_id="s" * 100), None, "StreamHello.stream_id"),
        (StreamHello(stream_id="s", error="a\x1b[0m"), StreamHello(stream_id="s", error="a�[0m"), ""),
        (RelayHello(ticket="a b"), None, "RelayHello.ticket"),
        (FetchImage(image_id="latest"), None, "FetchImage.image_id"),
        (FetchImage(image_id=IMAGE, failed=("n 2",)), FetchImage(image_id=IMAGE), "FetchImage.failed"),
        (ImageHeld(image_id="../.."), None, "ImageHeld.image_id"),
        (ImageSeen(image_id="x"), ImageSeen(), "ImageSeen.image_id"),
        (ImageSeen(repo_digests=("a\nb", "web")), ImageSeen(repo_digests=("web",)), "ImageSeen.repo_digests"),
        (ImageSeen(tagged_at=NOW + 1), ImageSeen(), "ImageSeen.tagged_at"),
        (ImageSeen(tagged_at=NOW + 1e6), ImageSeen(), "ImageSeen.tagged_at"),
        (ImageSeen(tagged_at=math.nan), ImageSeen(), "ImageSeen.tagged_at"),
        (ImageSeen(tagged_at=math.inf), ImageSeen(), "ImageSeen.tagged_at"),
        (ImageSeen(size=-1), ImageSeen(), "ImageSeen.size"),
        (ImageSeen(os="lin ux"), ImageSeen(), "ImageSeen.os"),
        (SpareImages(image_ids=(IMAGE, "x")), SpareImages(image_ids=(IMAGE,)), "SpareImages.image_ids"),
        (Brought(name="web latest"), Brought(), "Brought.name"),
        (Brought(name="w" * 600), Brought(), "Brought.name"),
        (Unfit(reason="a\nb"), Unfit(reason="a b"), ""),
    ],
)
def test_what_does_not_hold_is_left_out(message: Any, expected: Any, field: str) -> None:
    taken, refused = validated(message)
    assert taken == expected
    assert list(refused) == ([field] if field else [])


def test_what_a_manager_says_is_no_workers_word() -> None:
    welcome = Welcome(protocol=1, session_id="s", node_id="n", heartbeat=1.0, managers=())
    with pytest.raises(ProtocolError, match="a worker does not say Welcome"):
        validated(welcome)
