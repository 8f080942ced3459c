import pytest

from common.errors import NotFound
from manager.cli.compose import ComposeFile, convert, load
from manager.domain.references import with_ids

TEXT = """
services:
  web:
    image: a
    secrets: [s]
    configs: [c]
    credential_spec: {config: c}
  bare: {image: b}
secrets: {s: {external: true}}
configs: {c: {file: c}}
"""


def read(path: str) -> bytes:
    if path.endswith(".env"):
        raise FileNotFoundError(path)
    return b"content"


def test_ids_are_filled_in_everywhere() -> None:
    stack = convert(load([ComposeFile("f", TEXT)], {}, read, "/p"), "st", read)
    spec = with_ids(stack.services["web"], {"s": "secret-id"}, {"st_c": "config-id"}).task_template.container_spec
    assert spec is not None
    assert [(r.secret_id, r.secret_name) for r in spec.secrets] == [("secret-id", "s")]
    assert [(r.config_id, r.config_name) for r in spec.configs] == [("config-id", "st_c")] * 2
    assert spec.privileges is not None
    assert spec.privileges.credential_spec is not None
    assert spec.privileges.credential_spec.config == "config-id"
    assert with_ids(stack.services["bare"], {}, {}) == stack.services["bare"]


def test_a_name_that_nobody_made_is_not_found() -> None:
    stack = convert(load([ComposeFile("f", TEXT)], {}, read, "/p"), "st", read)
    with pytest.raises(NotFound, match=r"^secret not found: s$"):
        with_ids(stack.services["web"], {}, {"st_c": "x"})
    with pytest.raises(NotFound, match=r"^config not found: st_c$"):
        with_ids(stack.services["web"], {"s": "x"}, {})
