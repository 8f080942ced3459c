"""What engines say while they build, pull or load, in pieces of any size."""

import json

import pytest

from manager.api.images.progress import MAX_LINE, MAX_NAMES, Progress

ONE = "sha256:" + "1" * 64


def heard(*messages: object, size: int = 7) -> Progress:
    text = b"".join(m if isinstance(m, bytes) else json.dumps(m).encode() + b"\r\n" for m in messages)
    progress = Progress()
    for at in range(0, len(text), size):
        progress.hear(text[at : at + size])
    progress.end()
    return progress


@pytest.mark.parametrize("size", [1, 2, 100, 10_000])
def test_a_build_is_known_by_any_of_its_ends(size: int) -> None:
    for message in ({"aux": {"ID": ONE}}, {"stream": "Successfully built 1234\n"}, {"stream": f"{ONE}\n"}):
        assert heard({"stream": "Step 1/2 : FROM x\n"}, message, size=size).built
    assert not heard({"stream": "Step 1/2"}, {"aux": {"ID": "x"}}, {"aux": "moby"}, {"id": "moby.buildkit.trace"}).built


@pytest.mark.parametrize(
    "error",
    [
        {"error": "no"},
        {"errorDetail": {"message": "no"}},
        {"errorDetail": {"message": "x" * MAX_LINE}, "error": "x" * MAX_LINE},
    ],
)
def test_an_error_is_heard_however_long(error: object) -> None:
    assert heard({"status": "a"}, error, {"status": "b"}, size=4096).failed


def test_names_are_heard_where_they_are_meant() -> None:
    progress = heard(
        {"stream": "Loaded image: web:1\n"},
        {"stream": "Loaded image: reg.example:5000/team/web:2\n"},
        {"stream": "Loaded image ID: sha256:12\n"},
        {"stream": "said: Loaded image: not:1\n"},
        {"status": "Pulling from library/nginx", "id": "1.27"},
        {"status": "Pulling fs layer", "id": "a1b2"},
        {"status": "Pulling from library/nginx", "id": "no tag"},
    )
    assert progress.loaded == ["web:1", "reg.example:5000/team/web:2"]
    assert progress.pulled == ["1.27"]
    assert not progress.failed


def test_what_is_no_message_is_passed_over() -> None:
    progress = heard(b"\n[]\nnull\n{\n\xff\n" + b"[" * 3000 + b"\n", b'{"stream": "Loaded image: a:1"}')
    assert progress.loaded == ["a:1"], "the last line may have no end"


def test_long_lines_and_many_names_are_bounded() -> None:
    progress = heard(*({"stream": f"Loaded image: a:{n}\n"} for n in range(MAX_NAMES + 5)), size=4096)
    assert len(progress.loaded) == MAX_NAMES
    progress = heard({"id": "moby.buildkit.trace", "aux": "x" * 3 * MAX_LINE}, {"aux": {"ID": ONE}}, size=4096)
    assert (progress.built, progress.failed) == (True, False)
