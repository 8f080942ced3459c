import random
import ssl
from pathlib import Path

import pytest

from common.errors import InvalidArgument, Unavailable
from common.tls import (
    CredentialFiles,
    Identity,
    client_context,
    load_key,
    new_key,
    renewal_time,
    root_digest,
    server_context,
    unverified_context,
)
from tests.fakes.certificates import Pki


def test_renewal_is_at_a_random_half_to_four_fifths_of_the_life() -> None:
    identity = Identity("n", "r", "c", "1", not_before=1000.0, not_after=2000.0)
    times = [renewal_time(identity, random.Random(seed)) for seed in range(300)]
    assert 1500 <= min(times) < 1520
    assert 1780 < max(times) <= 1800


def test_contexts_speak_tls_13_only_and_verify(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    server, client = pki.server(), pki.worker()
    assert server.minimum_version == client.minimum_version == ssl.TLSVersion.TLSv1_3
    assert server.verify_mode is ssl.CERT_OPTIONAL
    assert client.verify_mode is ssl.CERT_REQUIRED
    assert client.check_hostname
    assert unverified_context().minimum_version == ssl.TLSVersion.TLSv1_3


def test_missing_files_are_named(tmp_path: Path) -> None:
    files = CredentialFiles(tmp_path / "nothing")
    for use in (client_context, server_context):
        with pytest.raises(Unavailable, match="nothing"):
            use(files)
    with pytest.raises(Unavailable, match=r"node\.pem"):
        files.identity()


def test_what_is_no_key_or_certificate_is_refused() -> None:
    load_key(new_key())
    with pytest.raises(InvalidArgument, match="private key"):
        load_key(b"nonsense")
    with pytest.raises(InvalidArgument, match="certificate"):
        root_digest(b"nonsense")
