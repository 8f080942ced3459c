"""Copies a folder in passes, while programs go on writing to it: the sender's half and the receiver's half.

A copy is a session between a sender, which has the source folder, and a receiver, which has the target folder, over any
pair of byte streams. Each half is a child process, so that what a volume does to it is not done to the agent:

    python -m worker.volumes.copy send FOLDER --work DIRECTORY [--peer R,W] [--control R,W] [--owner-base UID]
                                              [--limit BYTES_A_SECOND] [--max-downtime SECONDS] [--keep-priority]
    python -m worker.volumes.copy receive FOLDER --work DIRECTORY [--peer R,W] [--control R,W] [--owner-base UID]
                                              [--like FOLDER] [--keep-priority]

--peer           descriptors to read from and write to the other half; one number for a socket; 0,1 unless told
--control        descriptors to read commands from and write reports to, 3,4 unless told
--work           a folder of this half alone, outside of FOLDER, for its index. Kept for a copy to be resumed, removed
                 by the parent afterwards
--like           a folder on the same file system: the receiver's files begin as shares of its blocks (`share.py`)
--max-downtime   what the last pass may take; `next` is `give-up` where that is not to be expected
--keep-priority  otherwise both are idle, for processor and disk, until the last pass
--owner-base     what the engine adds to the owners of its containers (`userns-remap`); 0 unless told

The receiver says what its folder has, and from then on the sender sends what differs, without asking. That makes
resuming nothing of its own: start both halves again with the same folders, and only what was under way is sent again.
The receiver's folder may have an older copy.

Commands (`control.py`, one JSON value a line) to the sender; the receiver knows `stop` alone:

    {"do": "pass"}    a pass while programs write
    {"do": "last"}    the pass while none does: without idle priority, the target is on its disk, digests are compared
    {"do": "verify"}  the target is read back from its disk, and its digest compared
    {"do": "limit", "bytes": N}   from now on N bytes a second, 0 is no limit
    {"do": "stop"}    end both halves; so does the end of the stream of commands

Reports, likewise, from both halves:

    {"event": "ready"}                                      the sender takes commands
    {"event": "progress", "pass": 1, "done": B, "left": B, "files": N, "seconds": S}    S: estimated time left
    {"event": "taken", "pass": 2}                           of a last pass: all is read, programs may write again
    {"event": "passed", "pass": 1, "sent": B, "read": B, "files": N, "seconds": S, "next": "pass"|"last"|"give-up",
     "rest": S, "digest": "…"}     `next` by the rule of `passes.py`; `rest`: how long the last pass takes, estimated;
                                   `digest`, of a last pass only, is that of both sides
    {"event": "verified", "digest": "…"}
    {"event": "failed", "code": "ResourceExhausted", "message": "…"}   the last line: what was wrong, where
    {"event": "stopped"}                                                the last line: as told

A volume as a tar archive, with the same descriptors and reports; `--peer` is where it goes to or comes from:

    python -m worker.volumes.copy export FOLDER [--peer R,W] [--control R,W] [--owner-base UID] [--keep-priority]
    python -m worker.volumes.copy import FOLDER [--peer R,W] [--control R,W] [--owner-base UID] [--keep-priority]

    {"event": "archived", "bytes": B}     the archive is whole; an imported one is on the disk

Exit status: 0 stopped as told, 1 failed as reported. `process.py` is the parent's side of all this, for asyncio.

What is copied: files with their holes, folders, symbolic and hard links, devices, sockets, pipes, with owner, mode,
time of modification, extended attributes, ACLs and capabilities; whatever bytes a name has; on one file system. Not
copied: hard links of other than regular files (each becomes its own), times of access, attributes of `chattr`, SELinux
labels (the target's engine sets its own).
"""
