"""The file of the store's keys: read back as written, private, and once locked of no use without the unlock key."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidArgument, Unavailable
from manager.ca.keyring import KeyFile, Keyring, Locked, new_keyring, new_unlock_key
from manager.store.backends.sealed import KEY_BYTES


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "store.key")


def test_what_was_saved_is_read_and_for_its_owner_only(file: KeyFile) -> None:
    keyring = Keyring({1: b"a" * KEY_BYTES, 2: b"b" * KEY_BYTES}, 2)
    file.save(keyring)
    assert file.load() == keyring
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_a_locked_file_opens_with_its_unlock_key_alone(file: KeyFile) -> None:
    keyring = new_keyring().locked_with(new_unlock_key())
    file.save(keyring)
    with pytest.raises(Locked, match="is locked: unlock it with 'swarm-manager unlock'"):
        file.load()
    with pytest.raises(InvalidArgument, match="swarm could not be unlocked: invalid key provided"):
        file.load(new_unlock_key())
    assert file.load(keyring.unlock_key) == keyring


def test_a_locked_file_has_neither_key(file: KeyFile) -> None:
    keyring = Keyring({1: b"store-key-of-32-bytes-in-a-test!"}, 1, new_unlock_key())
    file.save(keyring)
    content = file.path.read_bytes()
    file.save(keyring.locked_with(""))
    plain = json.loads(file.path.read_bytes())["keys"]["keys"]["1"]
    assert plain.encode() not in content
    assert keyring.unlock_key.encode() not in content


@given(st.text(max_size=60))
def test_what_is_not_an_unlock_key_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid key string"):
        _ = Keyring({1: b"k" * KEY_BYTES}, 1).locked_with(text or "x").lock()


def test_unlock_keys_are_as_dockers() -> None:
    key = new_unlock_key()
    assert key.startswith("SWMKEY-1-")
    assert len(key) == len("SWMKEY-1-") + 43  # 32 bytes in base64 without padding
    assert key != new_unlock_key()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged"),
        (b"{}", "is damaged: it has no keys"),
        (b'{"keys": {"current": 1, "keys": {}}}', "is damaged: it has no usable key"),
        (b'{"keys": {"current": 1, "keys": {"1": "YQ=="}}}', "is damaged: it has no usable key"),
        (b'{"keys": {"current": 0, "keys": {"0": "' + b"YQ" * 21 + b'YQ=="}}}', "is damaged"),
        (b'{"keys": {"current": 1, "keys": {"1": "YQ=="}}, "locked": "YQ=="}', "is damaged"),
    ],
)
def test_a_damaged_file_is_named(file: KeyFile, content: bytes, said: str) -> None:
    file.path.write_bytes(content)
    with pytest.raises(Unavailable, match=rf"store\.key {said}"):
        file.load()


def test_a_missing_file_is_named_and_not_made_anew(file: KeyFile) -> None:
    with pytest.raises(Unavailable, match=r"store\.key is missing: without this key"):
        file.load()
    assert not file.path.exists()


def test_keys_are_not_in_its_repr() -> None:
    keyring = Keyring({1: b"k" * KEY_BYTES}, 1, "SWMKEY-1-x")
    assert "kkk" not in repr(keyring)
    assert "SWMKEY" not in repr(keyring)


@pytest.mark.parametrize(("numbers", "current", "next_one"), [((1,), 1, 2), ((7, 8), 7, 9), ((254, 255), 255, 1)])
def test_a_renewed_keyring_has_one_key_of_another_number(numbers: tuple[int, ...], current: int, next_one: int) -> None:
    before = Keyring({number: bytes([number]) * 32 for number in numbers}, current, "SWMKEY-1-x")
    after = before.renewed()
    assert (after.current, [*after.keys]) == (next_one, [next_one])
    assert after.unlock_key == before.unlock_key
    assert after.keys[next_one] not in before.keys.values()
    assert len(after.keys[next_one]) == 32
