"""The configuration's reference: a JSON Schema and a page of words, made from the structs.

`python -m worker.config_schema [FOLDER]` writes configuration.schema.json and configuration.md,
into docs/ of the checkout by default; a test says when they are not current.
"""

import dataclasses
import json
import re
import sys
import textwrap
from pathlib import Path
from typing import Any

from worker.config import Limits, MetricsConfig, ModelConfig, VerifyConfig, WorkerConfig
from worker.config_keys import KeyInfo, key_info
from worker.config_provider import (
    SECTIONS,
    HttpConfig,
    HubConfig,
    ModelCacheConfig,
    ProviderConfig,
    S3Config,
    TlsConfig,
)
from worker.config_readers import Schema, Text
from worker.config_structs import MEBI

DIALECT = "https://json-schema.org/draft/2020-12/schema"
NOTHING: list[Any] = [None, 0, "", "0"]
"""What means the default, of every key that has one."""

DOCS = Path(__file__).resolve().parents[1] / "docs"
_WIDTH = 110

_STRUCTS: tuple[tuple[type[Any], str, str, str], ...] = (
    (
        WorkerConfig,
        "The configuration",
        "",
        "The first packet of a host: a COMMAND whose payload is an object with these keys. All are optional.",
    ),
    (
        ModelConfig,
        "A model",
        "models[].",
        "An entry of `models`, and the `config` of the commands `load` and `replace`. Keys that are not here"
        " are handed to the postprocessor.",
    ),
    (
        VerifyConfig,
        "The proof of a model",
        "models[].verify.",
        "The object `verify` of a model: what it has to find, on every load of its slot.",
    ),
    (
        Limits,
        "The limits",
        "limits.",
        "The object `limits`. Over a limit a request waits or is refused; none of them ends the worker.",
    ),
    (
        MetricsConfig,
        "The metrics",
        "metrics.",
        "The object `metrics`. What is measured, and the command that asks for it, are in"
        " [metrics.md](metrics.md).",
    ),
    (
        ProviderConfig,
        "The provider",
        "provider.",
        "The object `provider`. References, the cache and the commands for it are in"
        " [model-files.md](model-files.md).",
    ),
    (ModelCacheConfig, "The model cache", "provider.modelcache.", "The object `modelcache` of `provider`."),
    (TlsConfig, "TLS to the model cache", "provider.modelcache.tls.", "The object `tls` of `modelcache`."),
    (HttpConfig, "HTTP servers", "provider.http.", "The object `http` of `provider`."),
    (S3Config, "S3", "provider.s3.", "The object `s3` of `provider`."),
    (HubConfig, "The hub", "provider.hf.", "The object `hf` of `provider`."),
)
"""Each struct with its heading, the path of its keys and what stands below the heading."""

_INTRODUCTION = """\
# Configuration

<!-- Made by `python -m worker.config_schema` from config_structs.py, config_model.py,
config_verify.py and config_provider.py in worker/. -->

Every key of the configuration. The same as JSON Schema, for editors and validators, is in
[configuration.schema.json](configuration.schema.json), and `python -m worker schema` prints it. How the
handshake goes is in [protocol.md](protocol.md#handshake).

How values are read:

- `null`, `0`, `""`, `"0"` and an absent key mean the default, whatever the key. So `"confidence": 0` is
  0.25. `"spinning": false` is a value.
- Whole numbers may come as floats, which are cut (`2.7` is 2), or as strings (`"2"`, `"2.0"`). Other numbers
  may come as strings too.
- A value that cannot be read ends the process; the answer says which key it was, what was expected and what
  came. In a model it fails that slot alone.
- A key that nobody reads is no error. It is reported in `warnings` of the ready answer, with the nearest
  known one.

The schema is stricter than the worker in a few places, to find mistakes: in `batch_mode` and `protocol` it
takes nothing but what means something, and in strings only plain notations of numbers. It does not look at
the bounds of a number that is written as a string.
"""


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the handshake's configuration."""
    return {
        "$schema": DIALECT,
        "title": "Configuration of an inferpipe worker",
        "description": "The first packet of a host. Unknown keys are ignored, and reported in warnings.",
        **_object(WorkerConfig),
        "$defs": {
            "model": {"description": "One slot's model.", **_object(ModelConfig)},
            "verify": {"description": "What a model has to find.", **_object(VerifyConfig)},
            "limits": {"description": "What the worker takes on at once.", **_object(Limits)},
            "metrics": {"description": "Where metrics are served.", **_object(MetricsConfig)},
            **{
                name: {"description": f"The object {name}.", **_object(struct)}
                for name, struct in SECTIONS.items()
            },
            "default": {"description": "Means the default.", "enum": NOTHING},
        },
    }


def reference_markdown() -> str:
    """Return docs/configuration.md."""
    return "\n".join([_INTRODUCTION, *(_chapter(*struct) for struct in _STRUCTS)])


def keys_of(struct: type[Any]) -> list[tuple[KeyInfo, Any]]:
    """Return a struct's keys, each with the default of its field."""
    return [(key_info(entry), entry.default) for entry in dataclasses.fields(struct) if entry.metadata]


def _object(struct: type[Any]) -> Schema:
    keys = keys_of(struct)
    required = [info.name for info, _ in keys if info.required]
    properties = {info.name: _property(info, default) for info, default in keys}
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


def _property(info: KeyInfo, default: Any) -> Schema:
    unit = [f"Unit: {info.unit}."] if info.unit else []
    told = " ".join([info.text, *unit, _told(info, default), info.change])
    head = {"description": told.replace("`", "")}  # marks of markdown, which no editor shows
    own = info.reader.schema
    if info.required:
        return head | own | {"not": {"enum": NOTHING}}
    examples = {"examples": own.pop("examples")} if "examples" in own else {}
    forms = own["anyOf"] if set(own) == {"anyOf"} else [own]
    preset = {} if info.absent else {"default": default}
    return head | preset | examples | {"anyOf": [*forms, {"$ref": "#/$defs/default"}]}


def _told(info: KeyInfo, default: Any) -> str:
    return "It is required." if info.required else f"Default: {_default(info, default)}."


def _default(info: KeyInfo, default: Any) -> str:
    if info.required:
        return "required"
    if info.absent:
        return info.absent
    if isinstance(default, int) and default >= MEBI:
        return f"{default:,} ({default // MEBI} Mi)"
    return f"`{default:g}`" if isinstance(default, float) else f"`{json.dumps(default)}`"


def _chapter(struct: type[Any], heading: str, path: str, text: str) -> str:
    keys = keys_of(struct)
    rows = [
        f"| [`{info.name}`](#{_anchor(path + info.name)}) | {_takes(info)} | {_default(info, default)} |"
        for info, default in keys
    ]
    table = ["| key | takes | default |", "|---|---|---|", *rows, ""]
    sections = (_section(info, path, default) for info, default in keys)
    return "\n".join([f"## {heading}\n", _filled(text), "", *table, *sections])


def _section(info: KeyInfo, path: str, default: Any) -> str:
    when = _filled(f"{_told(info, default)} {info.change}")
    return f"### `{path}{info.name}`\n\n{_filled(info.text)}\n\n{when}\n"


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w-]", "", heading.lower())


def _takes(info: KeyInfo) -> str:
    words = info.reader.known if isinstance(info.reader, Text) else ()
    takes = ", ".join(f"`{word}`" for word in words) or info.reader.expected
    return f"{takes} ({info.unit})" if info.unit else takes


def _filled(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def files() -> dict[str, str]:
    """Return the text of each generated file by its name."""
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    return {"configuration.schema.json": schema, "configuration.md": reference_markdown()}


def write(folder: Path) -> None:
    """Write the generated files into a folder."""
    for name, text in files().items():
        (folder / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{folder / name}\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
