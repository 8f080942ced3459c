"""What this manager's files say: how long certificates are valid, the store's size, when a backup was last written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when a certificate is valid, in Unix seconds."""

    not_before: float
    not_after: float


@dataclass(frozen=True, slots=True)
class Vitals:
    """`certificates` are this manager's by name, `backed_up_at` (Unix seconds) is 0 where no backup is known of."""

    certificates: Mapping[str, Validity] = field(default_factory=dict)
    store_bytes: int = 0
    backed_up_at: float = 0.0


# Reads files: it is called in a thread.
ReadVitals: TypeAlias = Callable[[], Vitals]


def sizes(files: Iterable[Path]) -> int:
    """Return how large files are together; those that are not there count nothing."""
    return sum(file.stat().st_size for file in files if file.exists())


def changed_at(file: Path) -> float:
    """Return when a file was last written, 0 where it is not there."""
    return file.stat().st_mtime if file.exists() else 0.0
