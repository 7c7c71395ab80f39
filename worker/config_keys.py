"""How a key of the configuration is declared: its name, its reader, and what a person has to know of it."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from worker import config_readers as read


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What is to be known of one key."""

    name: str
    """On the wire."""
    reader: read.Reader
    """Makes the field's value of the wire's."""
    text: str
    """What it decides."""
    change: str
    """When to set it."""
    unit: str
    """Of a number, "" where it has none."""
    absent: str
    """What holds without it, where the field's default alone does not tell."""
    required: bool
    """Whether there is no default."""


def key_info(entry: "dataclasses.Field[Any]") -> KeyInfo:
    """Return what a struct's field was declared with."""
    info: KeyInfo = entry.metadata["info"]
    return info


def key(
    name: str,
    default: Any,
    reader: read.Reader,
    text: str,
    change: str,
    *,
    unit: str = "",
    absent: str = "",
    required: bool = False,
) -> Any:
    """Declare a configuration key; see `KeyInfo`."""
    info = KeyInfo(name, reader, text, change, unit, absent, required)
    shows = not getattr(reader, "is_secret", False)
    return field(default=default, repr=shows, metadata={"key": name, "info": info})
