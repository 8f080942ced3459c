"""Prometheus' text format, as far as one number needs it. Pure."""

from __future__ import annotations

import math
import re


def total(text: str, name: str) -> float:
    """Return the sum of all samples of a metric, whatever their labels.

    Raises:
        ValueError: there is none, or one is no finite number.

    """
    # A label's value may hold anything, so the labels end at the last brace.
    sample = re.compile(rf"{re.escape(name)}(?:\s*\{{.*\}})?\s+(\S+)(?:\s+-?\d+)?\s*", re.ASCII)
    matches = [match for line in text.splitlines() if line.startswith(name) and (match := sample.fullmatch(line))]
    if not matches:
        raise ValueError(f"no metric {name}")
    try:
        value = math.fsum(float(match[1]) for match in matches)
    except (ValueError, OverflowError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{name} is no finite number")
    return value
