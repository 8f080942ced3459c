"""The shared dashboard's certificate: somebody else's files, of which the newest that can be used are shown."""

import asyncio
import ssl
from pathlib import Path

import pytest

from common.errors import InvalidArgument
from common.tls import ROLE_MANAGER, CredentialFiles
from manager.daemon.shared_dashboard import GivenCertificate
from tests.fakes.certificates import Pki


def split(files: CredentialFiles, folder: Path) -> tuple[Path, Path]:
    """Write a certificate and its key as two files, as other authorities' clients do."""
    text = files.node.read_bytes()
    start = text.index(b"-----BEGIN PRIVATE KEY")
    certificate, key = folder / "fullchain.pem", folder / "privkey.pem"
    certificate.write_bytes(text[:start])
    key.write_bytes(text[start:])
    return certificate, key


async def shown(context: ssl.SSLContext) -> bytes | None:
    """Return the certificate that who connects now is shown."""
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    async with server:
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=trusting)
        der: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return der


async def test_a_renewed_certificate_is_shown(tmp_path: Path) -> None:
    pki = Pki(tmp_path, "c" * 25)
    given = GivenCertificate(*split(pki.files("m1", ROLE_MANAGER), tmp_path))
    before = await shown(given.context)
    split(pki.files("m2", ROLE_MANAGER), tmp_path)
    after = await shown(given.context)
    assert before is not None
    assert after not in (None, before)


async def test_one_that_cannot_be_used_is_not_shown(tmp_path: Path) -> None:
    """So it is between the moments in which its two files are replaced."""
    pki = Pki(tmp_path, "c" * 25)
    certificate, key = split(pki.files("m1", ROLE_MANAGER), tmp_path)
    given = GivenCertificate(certificate, key)
    before = await shown(given.context)
    other = tmp_path / "other"
    other.mkdir()
    _, another_key = split(pki.files("m2", ROLE_MANAGER), other)
    key.write_bytes(another_key.read_bytes())
    assert await shown(given.context) == before
    key.unlink()
    assert await shown(given.context) == before


def test_files_that_cannot_be_used_are_said(tmp_path: Path) -> None:
    certificate, key = split(Pki(tmp_path, "c" * 25).files("m1", ROLE_MANAGER), tmp_path)
    for one, other in ((certificate, certificate), (key, key), (tmp_path / "none", key)):
        with pytest.raises(InvalidArgument, match="cannot use the dashboard's certificate"):
            GivenCertificate(one, other)
