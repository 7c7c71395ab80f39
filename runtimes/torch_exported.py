"""Looks through a torch.export archive before the library does, which evaluates texts of it as code.

Weights and examples in it may be pickles; runtimes/torch_programs.py has them loaded by `weights_only`.
What that does not reach is checked here: sizes go through sympy's `eval`, names into generated Python,
opaque objects through `pickle`, and compiled parts are shared libraries.
"""

import ast
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runtimes.errors import ModelLoadError

_NATIVE_CODE = "data/aotinductor/"
_OPAQUE = "opaque_obj_"
_MAX_GRAPH_BYTES = 256 << 20
_GRAPHS = re.compile(r"models/.*|serialized_exported_program\.json|data/(?:weights|constants)/.*\.json")

_PLAIN = re.compile(r"[\w. /:+#-]*")
"""What names of nodes, weights, operators and devices are made of: nothing that closes a quote or calls."""

_NOTES = "metadata"
"""Where the code came from, pairs of texts that stay texts."""
_EXEMPT = frozenset({"out_spec", "as_string", "as_strings", "guards_code"})
"""Other texts that stay texts: keys of results, arguments that are quoted by `repr`, and guards, which the
adapter does not compile."""

_EXPRESSIONS = frozenset({"expr_str"})
_TREES = frozenset({"in_spec"})
_CALLABLE = frozenset({"floor", "ceiling", "sqrt"})
_MAX_EXPRESSION = 10_000
_ARITHMETIC = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.operator,
    ast.unaryop,
    ast.boolop,
    ast.cmpop,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.keyword,
    ast.Call,
)


def check_exported(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuse an archive that would run code of its own while it is loaded.

    Raises:
        ModelLoadError: it would.
    """
    for info in archive.infolist():
        inner = info.filename.partition("/")[2]
        if _NATIVE_CODE in info.filename:
            raise ModelLoadError(
                f"{path} holds native code (AOTInductor), and is not loaded: use torch.export.save"
            )
        if _OPAQUE in info.filename:
            raise ModelLoadError(f"{path} holds a pickled object, and is not loaded: {inner}")
        if _GRAPHS.fullmatch(inner) or _GRAPHS.fullmatch(info.filename):
            _check_graph(path, archive, info)


def is_arithmetic(text: str) -> bool:
    """Tell whether a text is a size such as "2*s0 + 1" or "Symbol('s0', integer=True)", and no more."""
    if len(text) > _MAX_EXPRESSION:
        return False
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return all(_harmless(node) for node in ast.walk(tree))


def _harmless(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name)):  # classes of sympy are written in capitals
            return name[:1].isupper() or name in _CALLABLE
        case ast.Call():
            return False
        case ast.Name(id=name):
            return not name.startswith("_")
        case ast.Constant(value=str(text)):
            return text.isidentifier() and not text.startswith("__")
        case _:
            return isinstance(node, _ARITHMETIC)


def _check_graph(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> None:
    if info.file_size > _MAX_GRAPH_BYTES:
        raise ModelLoadError(f"{path} is damaged: its {info.filename} has {info.file_size} bytes")
    try:
        suspicious = next(_suspicious(json.loads(archive.read(info)), ""), None)
    except (ValueError, RecursionError) as exc:
        raise ModelLoadError(f"{path} is damaged: its {info.filename} is no JSON") from exc
    if suspicious is not None:
        raise ModelLoadError(
            f"{path} holds text that would run as code, and is not loaded: {suspicious!r:.80}"
        )


def _suspicious(value: Any, key: str) -> Iterator[str]:  # Any: JSON of a stranger
    """Yield the texts that would be evaluated, and are not what they should be."""
    match value:
        case dict():
            yield from (name for name in value if not _PLAIN.fullmatch(name))
            for name, item in value.items():
                if key != _NOTES or not isinstance(item, str):
                    yield from _suspicious(item, name)
        case list():
            for item in value:
                yield from _suspicious(item, key)
        case str() if key not in _EXEMPT and not _is_safe(value, key):
            yield value


def _is_safe(text: str, key: str) -> bool:
    if key in _EXPRESSIONS:
        return is_arithmetic(text)
    if key in _TREES | {"context"} and text[:1] in {"[", "{", '"'}:  # JSON within JSON: names of arguments
        try:
            return next(_suspicious(json.loads(text), "context"), None) is None
        except ValueError:
            return False
    return _PLAIN.fullmatch(text) is not None
