"""Files of a copy within a file system begin as shares of their sources' blocks, where it has these (FICLONE).

That saves the room of a snapshot, and the writing. What a file has then is any moment's: the receiver reads it, and
says what it has, as of an older copy; passes change what differs. So the copy is the same as without it. XFS and btrfs
share blocks, ext4 does not.
"""

from __future__ import annotations

import fcntl
import os
import stat

from common.errors import ProtocolError
from worker.volumes.copy.entries import BLOCK
from worker.volumes.copy.target import Target
from worker.volumes.copy.walk import VANISHED, Found, open_regular, walk

_FICLONE = 0x40049409


def share_files(source: int, root: int, base: int) -> int:
    """Let the folder `root`, if it is empty, have the large files of the folder `source`; return how many it has then.

    Metadata is the copy's to set. Small files come whole with it: sharing them saves nothing. The first refusal ends
    it: the file system cannot share, is another one, or is full, which the copy meets itself.
    """
    if os.listdir(root):
        return 0
    shared, seen = 0, set[int]()
    target = Target(root, base)
    try:
        for found in walk(source):
            if stat.S_ISDIR(found.status.st_mode):
                target.make_folder(found.path)
            elif (
                stat.S_ISREG(found.status.st_mode) and found.status.st_size > BLOCK and found.status.st_ino not in seen
            ):
                seen.add(found.status.st_ino)
                shared += _share(found, target)
    except (OSError, ProtocolError):
        return shared
    finally:
        target.close()
    return shared


def _share(found: Found, target: Target) -> bool:
    """Make a file that shares the blocks of another; False where that is not there any more. Raises OSError."""
    try:
        file = open_regular(found.name, found.folder, os.O_RDONLY | os.O_NOATIME)
    except OSError as error:
        if error.errno in VANISHED:
            return False
        raise
    if file is None:
        return False
    try:
        made = target.make_file(found.path)
        try:
            fcntl.ioctl(made, _FICLONE, file)
        except OSError:
            target.remove(found.path)
            raise
        finally:
            os.close(made)
    finally:
        os.close(file)
    return True
