"""What a container that was made through the cluster's API reserves: its labels say, for managers and workers alike.

The engine itself knows no reservation of CPU; `docker run --cpus` on the cluster is one (and a limit).
"""

from __future__ import annotations

from collections.abc import Mapping

from common.model.service import EXTENSION_PREFIX

CPUS_LABEL = EXTENSION_PREFIX + "cpus"
MEMORY_LABEL = EXTENSION_PREFIX + "memory"
_LONGEST = 20


def amount_of_label(labels: Mapping[str, str], name: str) -> int:
    """Return billionths of a core or bytes; 0 without the label, or when it is not such a number."""
    text = labels.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < _LONGEST else 0
