import pytest

from manager.api.call import Answer, Call
from manager.api.context import Context
from manager.api.errors import EngineError
from manager.api.router import Route, Router


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
