import os
import stat
from pathlib import Path

import pytest

from common.errors import PermissionDenied, Unavailable
from common.process.private_files import lock_folder, private_folder, usable_folder, write_private


def test_files_are_replaced_in_one_step_and_private(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.mkdir()  # what cannot be replaced by a file
    with pytest.raises(OSError, match="directory"):
        write_private(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_private_or_the_error_says_why_not(tmp_path: Path) -> None:
    path = tmp_path / "var" / "data"
    private_folder(path)
    private_folder(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    (path / "file").write_text("")
    with pytest.raises(Unavailable, match=f"cannot make the data directory {path}/file: File exists"):
        private_folder(path / "file")


def test_a_folder_in_use_says_what_to_do(tmp_path: Path) -> None:
    held = lock_folder(tmp_path)
    try:
        with pytest.raises(
            Unavailable, match=f"{tmp_path} is in use: another process has it open, probably its daemon"
        ):
            lock_folder(tmp_path)
    finally:
        os.close(held)


def test_another_users_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert usable_folder(tmp_path / "none yet") == tmp_path / "none yet"
    assert usable_folder(tmp_path) == tmp_path
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may do all
    with pytest.raises(
        PermissionDenied, match=f"permission denied: {tmp_path} is another user's: run this command as root"
    ):
        usable_folder(tmp_path)
