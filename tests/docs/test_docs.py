"""The documents keep what they promise: links lead somewhere, examples run, named files are there."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from protocol.commands import COMMANDS
from protocol.errors import ErrorCode
from protocol.options import OPTION_NAMES
from runtimes.picture_ids import draw_id
from worker.config import Limits, ModelConfig, WorkerConfig

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bench", "docs", "tests")
DOCUMENTS = sorted(chain(ROOT.glob("*.md"), *(ROOT.glob(f"{folder}/**/*.md") for folder in FOLDERS)))

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"[\w.-]+\.(?:py|md|json)")
DEADLINE_S = 60
VECTORS = ("requests", "responses")

TERMS = {
    *("Frame", "Packet", "Message", "Slot", "Lane", "decode", "prepare", "predict", "postprocess"),
    *("batch", "window", "letterbox", "group", "share", "generation", "runtime", "seam", "item"),
    *("accumulator", "epoch", "stuck", "host", "roi"),
}


def blocks(document: str, language: str) -> list[str]:
    """Return the fenced blocks of a language in a document."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [body for name, body in FENCE.findall(text) if name == language]


def anchors(document: Path) -> set[str]:
    """Return the names by which a document's headings are linked."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", [str(path.relative_to(ROOT)) for path in DOCUMENTS])
def test_links_lead_somewhere(document):
    path = ROOT / document
    for link in LINK.findall(FENCE.sub("", path.read_text(encoding="utf-8"))):
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), f"{link} leads out of the project"
        assert not anchor or anchor in anchors(target), link


def tree() -> Iterator[tuple[str, str]]:
    """Yield (folder, file) of the tree in docs/architecture.md; a line without a folder goes on."""
    (block,) = (body for body in blocks("docs/architecture.md", "") if body.startswith("protocol/"))
    folder = ""
    for line in block.splitlines():
        head, *rest = line.split()
        folder, names = (head, rest) if head.endswith("/") else (folder, [head, *rest])
        yield from ((folder, name) for name in names)


def test_every_file_of_the_tree_is_there():
    named = list(tree())
    assert len(named) > 80
    for folder, name in named:
        assert FILE_NAME.fullmatch(name), name
        assert (ROOT / folder / name).is_file(), f"{folder}{name}"


@pytest.mark.parametrize(
    "room", ["protocol", "runtimes", "preprocess", "postprocessors", "frame_cache", "worker"]
)
def test_every_file_of_a_room_is_in_the_tree(room):
    named = {ROOT / folder / name for folder, name in tree()}
    missing = [path.name for path in (ROOT / room).glob("**/*.py") if path not in named]
    assert [name for name in missing if name != "__init__.py"] == []


def test_the_glossary_has_the_words():
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|", (ROOT / "docs/glossary.md").read_text("utf-8"), re.MULTILINE)
    assert set(rows) >= TERMS
    assert rows == sorted(rows, key=str.lower)


def test_the_protocol_names_every_key_option_command_and_code():
    text = (ROOT / "docs/protocol.md").read_text(encoding="utf-8")
    structs = (WorkerConfig, ModelConfig, Limits)
    keys = [
        entry.metadata["key"] for struct in structs for entry in dataclasses.fields(struct) if entry.metadata
    ]
    rows = [*keys, *OPTION_NAMES, *COMMANDS, *ErrorCode]
    assert [name for name in rows if f"`{name}`" not in text] == []


def test_the_examples_in_hex_are_golden_vectors():
    vectors = [json.loads((ROOT / f"tests/vectors/{name}.json").read_text("utf-8")) for name in VECTORS]
    known = {row["hex"] for row in chain(*vectors)}
    lines = [line.replace(" ", "") for body in blocks("docs/protocol.md", "") for line in body.splitlines()]
    examples = [line for line in lines if re.fullmatch(r"[0-9a-f]{14,}", line)]
    assert len(examples) > 5
    assert set(examples) <= known


@pytest.fixture
def picture(tmp_path, encode_picture):
    """Return a file with a picture that carries the number 777."""
    path = tmp_path / "picture.png"
    path.write_bytes(encode_picture(draw_id(777, 48, 32), ".png"))
    return path


def run(command: list[str]) -> list[str]:
    """Run a host, and return the lines that it prints."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_python_host_of_the_readme_runs(tmp_path, picture):
    (text,) = blocks("README.md", "python")
    (tmp_path / "host.py").write_text(text, encoding="utf-8")
    lines = run([sys.executable, str(tmp_path / "host.py"), "fake:echo?size=64", str(picture)])
    assert lines == ["ready on fake", "1 found", "777 1.0 [0.0, 0.0, 48.0, 32.0]"]


def test_the_node_host_of_the_readme_runs(tmp_path, picture):
    node = shutil.which("node")
    if node is None:
        assert "INFERPIPE_CI" not in os.environ, "node is missing"
        pytest.skip("node is not installed")
    (text,) = blocks("README.md", "js")
    (tmp_path / "host.mjs").write_text(text, encoding="utf-8")
    lines = run([node, str(tmp_path / "host.mjs"), sys.executable, "fake:echo?size=64", str(picture)])
    assert lines == ["ready on fake", "1 found", "777 1 [ 0, 0, 48, 32 ]"]
