import pytest

from manager.cli.compose.mounts import parse_volume


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("/data", {"type": "volume", "target": "/data"}),
        ("/", {"type": "volume", "target": "/"}),
        ("data:/data", {"type": "volume", "source": "data", "target": "/data"}),
        ("d:/data", {"type": "volume", "source": "d", "target": "/data"}),
        ("./a:/b:ro", {"type": "bind", "source": "./a", "target": "/b", "read_only": True}),
        ("~/a:/b", {"type": "bind", "source": "~/a", "target": "/b"}),
        ("data:/d:nocopy", {"type": "volume", "source": "data", "target": "/d", "volume": {"nocopy": True}}),
        ("/a:/b:rshared,z", {"type": "bind", "source": "/a", "target": "/b", "bind": {"propagation": "rshared"}}),
        ("C:\\x:/y", {"type": "bind", "source": "C:\\x", "target": "/y"}),
        ("\\\\.\\pipe\\x:/y", {"type": "bind", "source": "\\\\.\\pipe\\x", "target": "/y"}),
    ],
)
def test_the_short_syntax(text: str, entry: dict[str, object]) -> None:
    parsed = {key: value for key, value in parse_volume(text).items() if value}
    assert parsed == entry


@pytest.mark.parametrize("text", ["", ":", "a:", ":a", "data:", ":/data", "a1::b", "./a:/b:ro:rw"])
def test_what_is_no_volume(text: str) -> None:
    with pytest.raises(ValueError, match=r"empty$|too many colons$"):
        parse_volume(text)
