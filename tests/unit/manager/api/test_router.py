"""The version that an engine is spoken to in, and what old engines are not asked for."""

import pytest

from common.model.node import EngineDescription
from manager.api.call import Answer, Call
from manager.api.context import Context
from manager.api.errors import EngineError
from manager.api.router import MAX_API_VERSION, Route, Router, spoken, too_old


async def one(_: Context, __: Call) -> Answer:
    return Answer()


async def two(_: Context, __: Call) -> Answer:
    return Answer()


ROUTER = Router(
    [
        Route("GET", "/things", one),
        Route("POST", "/things/create", two),
        Route("GET", "/things/{id}", two),
        Route("GET", "/images/{name+}/json", one),
    ]
)


@pytest.mark.parametrize("path", ["/things", "/v1.24/things", "/v1.45/things", "/v1.51/things"])
def test_with_and_without_version(path: str) -> None:
    assert ROUTER.match("GET", path).handler is one


def test_parameters() -> None:
    match = ROUTER.match("GET", "/v1.45/things/a.b")
    assert (match.handler, match.params, match.version) == (two, {"id": "a.b"}, "1.45")
    assert ROUTER.match("GET", "/images/host:5000/a/b/json").params == {"name": "host:5000/a/b"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nope"),
        ("PUT", "/things"),
        ("GET", "/things/"),
        ("GET", ""),
        ("GET", "x"),
        ("GET", "//"),
        ("GET", "/v1.45"),
    ],
)
def test_what_is_not_there(method: str, path: str) -> None:
    with pytest.raises(EngineError, match=r"^page not found$") as caught:
        ROUTER.match(method, path)
    assert caught.value.answered == 404


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("1.52", "client version 1.52 is too new. Maximum supported API version is 1.51"),
        ("2.0", "too new"),
        ("1.23", "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client"),
        ("1", "too old"),
        ("1..", "too old"),
    ],
)
def test_versions_out_of_range(version: str, words: str) -> None:
    with pytest.raises(EngineError) as caught:
        ROUTER.match("GET", f"/v{version}/things")
    assert words in caught.value.message
    assert caught.value.answered == 400


@pytest.mark.parametrize(
    ("newest", "oldest", "asked", "expected"),
    [
        ("1.45", "1.24", "1.51", "1.45"),
        ("1.45", "1.24", "1.41", "1.41"),
        ("1.45", "1.24", "", "1.45"),
        ("1.52", "1.44", "1.51", "1.51"),
        # An old client of the cluster, and Docker 29, which no longer knows its version.
        ("1.52", "1.44", "1.41", "1.44"),
        ("1.99", "1.60", "", "1.60"),
        ("", "", "", MAX_API_VERSION),
        ("1.9", "", "1.24", "1.9"),
    ],
)
def test_what_both_know_is_spoken(newest: str, oldest: str, asked: str, expected: str) -> None:
    assert spoken(EngineDescription(api_version=newest, min_api_version=oldest), asked) == expected


@pytest.mark.parametrize(
    ("method", "path", "query", "since"),
    [
        ("DELETE", "/images/shop:1", "platforms=x", "1.50"),
        ("GET", "/images/a/b:1/get", "platform=x", "1.48"),
        ("GET", "/images/get", "names=a&platform=x", "1.48"),
        ("POST", "/images/load", "platform=x", "1.48"),
        ("GET", "/images/shop:1/history", "platform=x", "1.48"),
        ("GET", "/images/shop:1/json", "platform=x", "1.49"),
        ("POST", "/images/shop:1/push", "platform=x&tag=1", "1.46"),
    ],
)
def test_an_old_engine_is_not_asked_for_a_part_of_an_image(method: str, path: str, query: str, since: str) -> None:
    """It would pass over that, and remove, save or load the whole."""
    major, minor = since.split(".")
    old = EngineDescription(engine_version="26.1.5", api_version=f"{major}.{int(minor) - 1}")
    assert f"needs an engine with API {since} or later: this is Docker 26.1.5" in too_old(old, method, path, query)
    assert too_old(EngineDescription(api_version=since), method, path, query) == ""
    assert too_old(old, method, path, "tag=1") == ""


def test_older_parameters_of_that_name_are_passed_on() -> None:
    old = EngineDescription(api_version="1.41")
    for path in ("/images/create", "/build", "/containers/create"):
        assert too_old(old, "POST", path, "platform=linux/amd64") == ""
