"""Where the API is, by what the user wrote."""

from pathlib import Path

import pytest

from common.errors import InvalidArgument
from manager.cli.endpoint import Endpoint

CERTIFICATES = Path("/certificates")


@pytest.mark.parametrize(
    ("endpoint", "base"),
    [
        (Endpoint("unix:///run/docker.sock"), "http://manager"),
        (Endpoint("ssh://host", tunnel="/tmp/tunnel"), "http://manager"),
        (Endpoint("tcp://host"), "http://host:2375"),
        (Endpoint("tcp://host:99"), "http://host:99"),
        (Endpoint("tcp://host", CERTIFICATES), "https://host:2376"),
        (Endpoint("https://host"), "https://host:2376"),
        (Endpoint("tcp://[::1]:99"), "http://[::1]:99"),
    ],
)
def test_paths_are_appended_to_a_base(endpoint: Endpoint, base: str) -> None:
    assert endpoint.base == base


def test_a_unix_socket_is_a_path() -> None:
    assert Endpoint("unix:///run/docker.sock").socket == "/run/docker.sock"
    assert Endpoint("tcp://host").socket is None
    assert Endpoint("ssh://host", tunnel="/t").socket == "/t"


@pytest.mark.parametrize("url", ["host", "ftp://host", "tcp://", "tcp://host:port", "tcp://host:99999"])
def test_another_form_is_refused_with_those_that_there_are(url: str) -> None:
    with pytest.raises(InvalidArgument, match="write it as unix://"):
        _ = Endpoint(url).base


def test_certificates_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"ca\.pem, cert\.pem and key\.pem are needed"):
        Endpoint("tcp://host", tmp_path).tls()
