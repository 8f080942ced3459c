"""BuildKit's connections listened to: which names a client gives to what it builds."""

import random

import pytest

from manager.api.images.buildkit import MAX_CALLS, PREFACE, Frames, Malformed, Solves, names_of

DATA, HEADERS, RESET, SETTINGS = 0, 1, 3, 4
END, PADDED = 1, 8


def frame(kind: int, call: int, data: bytes = b"", flags: int = 0) -> bytes:
    return len(data).to_bytes(3, "big") + bytes((kind, flags)) + call.to_bytes(4, "big") + data


def grpc(message: bytes, *, compressed: bool = False) -> bytes:
    return bytes([compressed]) + len(message).to_bytes(4, "big") + message


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def text(number: int, value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def solve(kind: str, *, old: bool = False, **attrs: str) -> bytes:
    """A `SolveRequest`: its reference, a definition, numbers of all kinds, and the exporter."""
    pairs = [text(1, key) + text(2, value) for key, value in attrs.items()]
    others = (
        text(1, "ref") + text(2, b"\x08\x01" * 300) + varint(11 << 3) + varint(1 << 40) + varint(90 << 3 | 5) + b"1234"
    )
    if old:
        return others + text(3, kind) + b"".join(text(4, pair) for pair in pairs) + varint(91 << 3 | 1) + b"12345678"
    return others + text(13, text(1, kind) + b"".join(text(2, pair) for pair in pairs))


def client(*frames: bytes) -> bytes:
    return PREFACE + frame(SETTINGS, 0, b"\0" * 12) + frame(HEADERS, 1, b"compressed") + b"".join(frames)


ANSWER = frame(HEADERS, 1, b"x") + frame(DATA, 1, grpc(text(1, b"digest"))) + frame(HEADERS, 1, b"x", END)
FAILURE = frame(HEADERS, 1, b"x", END)
NAMES = ("docker.io/library/web:1", "docker.io/team/web:2")


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("kind", ["moby", "image"])
def test_a_solve_tells_the_names(kind: str, *, old: bool) -> None:
    assert names_of(solve(kind, old=old, name=",".join(NAMES), push="false")) == NAMES
    assert names_of(solve(kind, old=old)) == ()
    assert names_of(solve("local", old=old, name="web:1")) == ()


@pytest.mark.parametrize("size", [1, 5, 17, 1000])
def test_a_build_is_told_of_when_it_was_answered(size: int) -> None:
    solves = Solves()
    request = grpc(solve("moby", name=",".join(NAMES)))
    sent = client(
        frame(DATA, 1, request[:40]), frame(DATA, 1, b"\x03" + request[40:] + b"pad", PADDED), frame(DATA, 1, b"", END)
    )
    for at in range(0, len(sent), size):
        solves.asked(sent[at : at + size])
    answer = frame(SETTINGS, 0) + ANSWER
    told = [solves.answered(answer[at : at + size]) for at in range(0, len(answer), size)]
    assert [each for each in told if each] == [[NAMES]]


def test_a_build_that_fails_or_is_given_up_gives_no_name() -> None:
    for end in (FAILURE, frame(RESET, 1, b"\0\0\0\1")):
        solves = Solves()
        solves.asked(client(frame(DATA, 1, grpc(solve("moby", name="web:1")), END)))
        assert solves.answered(end) == []
        assert solves.answered(ANSWER) == []
    solves = Solves()
    solves.asked(client(frame(DATA, 1, grpc(solve("moby", name="web:1")), END), frame(RESET, 1, b"\0\0\0\1")))
    assert solves.answered(ANSWER) == []


def test_calls_at_once_are_told_apart() -> None:
    solves = Solves()
    solves.asked(
        client(
            frame(DATA, 1, grpc(text(1, "status")), END),
            frame(DATA, 3, grpc(solve("moby", name="web:3"))[:30]),
            frame(DATA, 5, grpc(solve("moby", name="web:5")), END),
            frame(DATA, 3, grpc(solve("moby", name="web:3"))[30:], END),
        )
    )
    built = [solves.answered(frame(DATA, call, grpc(b"")) + frame(HEADERS, call, b"", END)) for call in (1, 5, 3)]
    assert built == [[], [("web:5",)], [("web:3",)]]


def test_a_call_that_has_ended_makes_room() -> None:
    solves = Solves()
    solves.asked(client())
    for number in range(MAX_CALLS * 2):
        solves.asked(frame(DATA, 2 * number + 1, grpc(text(1, "status")), END))
        solves.answered(frame(HEADERS, 2 * number + 1, b"", END))
    many = b"".join(frame(DATA, 10_001 + 2 * number, grpc(b"x")) for number in range(MAX_CALLS + 1))
    with pytest.raises(Malformed, match="calls at once"):
        solves.asked(many)


@pytest.mark.parametrize(
    "request_bytes",
    [grpc(solve("moby", name="web:1"), compressed=True), b"\0" + (1 << 30).to_bytes(4, "big") + b"x" * 100],
)
def test_what_is_compressed_or_too_large_is_not_listened_to(request_bytes: bytes) -> None:
    solves = Solves()
    solves.asked(client(frame(DATA, 1, request_bytes), frame(DATA, 1, request_bytes, END)))
    assert solves.answered(ANSWER) == []


def test_no_bytes_do_more_than_end_the_listening() -> None:
    rng = random.Random(3)
    good = grpc(solve("moby", name=",".join(NAMES)))
    for _ in range(3000):
        bad = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            bad[rng.randrange(len(bad))] = rng.randrange(256)
        names_of(bytes(bad[5:]))
        solves = Solves()
        try:
            solves.asked(client(frame(DATA, 1, bytes(bad), rng.randrange(256))))
            solves.asked(bytes(bad))
            solves.answered(bytes(bad) + ANSWER)
        except Malformed:
            continue
    with pytest.raises(Malformed, match="not an HTTP/2"):
        list(Frames(PREFACE).feed(b"GET / HTTP/1.1"))
