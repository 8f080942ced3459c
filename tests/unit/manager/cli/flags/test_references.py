"""Secrets and configs as flags name them."""

import pytest

from common.model.container import ConfigReference, FileTarget, SecretReference
from manager.cli.flags.references import parse_config, parse_secret, with_config_ids, with_secret_ids


def test_secrets_and_configs():
    assert parse_secret("key") == SecretReference(secret_name="key", file=FileTarget(name="key"))
    full = parse_secret("source=key,target=/k,uid=1,gid=2,mode=0400")
    assert full.file == FileTarget(name="/k", uid="1", gid="2", mode=0o400)
    assert parse_config("source=c,target=/etc/c") == ConfigReference(config_name="c", file=FileTarget(name="/etc/c"))
    for wrong in ("target=x", "source=a,mode=9", "source=a,what=b"):
        with pytest.raises(ValueError, match=r"\w"):
            parse_secret(wrong)


def test_references_get_their_ids():
    assert with_secret_ids((parse_secret("key"),), {"key": "id1"})[0].secret_id == "id1"
    assert with_config_ids((parse_config("c"),), {"c": "id2"})[0].config_id == "id2"
    with pytest.raises(ValueError, match="secret not found: key"):
        with_secret_ids((parse_secret("key"),), {})
    with pytest.raises(ValueError, match="duplicate config target for c"):
        with_config_ids((parse_config("c"), parse_config("source=d,target=c")), {"c": "1", "d": "2"})
