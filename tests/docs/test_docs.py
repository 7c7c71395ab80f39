"""The documents keep what they promise: links lead somewhere, examples run, named files are there."""

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pytest

from protocol.commands import COMMANDS
from protocol.errors import ErrorCode
from protocol.options import OPTION_NAMES
from runtimes import RUNTIMES
from runtimes.file_kinds import RUNTIME_BY_SUFFIX
from runtimes.onnx_devices import DEVICES
from runtimes.picture_ids import draw_id
from worker.config import Limits, ModelConfig, WorkerConfig
from worker.config_schema import keys_of

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("bench", "docs", "hosts", "models", "tests", "tools")
OTHERS = {"node_modules", "target"}
"""Folders in them whose documents are not the project's."""
DOCUMENTS = sorted(
    path
    for path in chain(ROOT.glob("*.md"), *(ROOT.glob(f"{folder}/**/*.md") for folder in FOLDERS))
    if not OTHERS.intersection(path.relative_to(ROOT).parts)
)

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"[\w.-]+\.(?:py|md|json|proto)")
DEADLINE_S = 60
VECTORS = ("requests", "responses")

TERMS = {
    *("Frame", "Packet", "Message", "Slot", "Lane", "decode", "prepare", "predict", "postprocess"),
    *("batch", "window", "letterbox", "group", "share", "generation", "runtime", "seam", "item"),
    *("accumulator", "epoch", "stuck", "host", "roi", "handshake", "ready answer", "device", "fallback"),
    *("framing", "back-pressure", "option", "limit", "code", "score", "postprocessor", "golden vector"),
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


ROOMS = [
    *("protocol", "model_files", "runtimes", "preprocess"),
    *("postprocessors", "frame_cache", "streaming", "worker"),
]


@pytest.mark.parametrize("room", ROOMS)
def test_every_file_of_a_room_is_in_the_tree(room):
    named = {ROOT / folder / name for folder, name in tree()}
    missing = [path.name for path in (ROOT / room).glob("**/*.py") if path not in named]
    assert [name for name in missing if name != "__init__.py"] == []


def test_the_glossary_has_the_words():
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|", (ROOT / "docs/glossary.md").read_text("utf-8"), re.MULTILINE)
    assert set(rows) >= TERMS
    assert rows == sorted(rows, key=str.lower)


def missing_in(document: str, names: Iterable[str]) -> list[str]:
    """Return the names that a document does not have in code marks."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [name for name in names if f"`{name}`" not in text]


def test_the_protocol_names_every_option_command_and_code():
    assert missing_in("docs/protocol.md", [*OPTION_NAMES, *COMMANDS, *ErrorCode]) == []


def test_the_reference_names_every_key():
    keys = [info.name for struct in (WorkerConfig, ModelConfig, Limits) for info, _ in keys_of(struct)]
    assert missing_in("docs/configuration.md", keys) == []


def sections(document: str) -> dict[str, str]:
    """Return what stands below each heading of the third level."""
    parts = re.split(r"^#{1,3} (.+)$", (ROOT / document).read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], map(str.strip, parts[2::2]), strict=True))


@pytest.mark.parametrize("code", list(ErrorCode))
def test_troubleshooting_has_a_section_for_every_code(code):
    text = sections("docs/troubleshooting.md").get(f"`{code}`", "")
    assert "**Do:**" in text
    assert text.startswith(("**Cause:**", "Reserved: "))


def test_the_readme_tells_runtimes_files_and_devices_as_they_are():
    text = sections("README.md")["What it runs"]
    rows = re.findall(
        r"^\| `(\w+)` \| (.+) \| (.+) \| (served|known, not served yet) \|$", text, re.MULTILINE
    )
    states = {runtime: state for runtime, _, _, state in rows}
    assert {name for name in states if states[name] == "served"} == set(RUNTIMES) - {"fake"}
    assert states.keys() <= RUNTIMES.keys()
    assert {suffix: runtime for runtime, files, _, _ in rows for suffix in codes(files)} == RUNTIME_BY_SUFFIX
    assert {device for _, _, devices, _ in rows for device in codes(devices)} == set(DEVICES)


def codes(cell: str) -> set[str]:
    """Return the words of a cell that have code marks."""
    return set(re.findall(r"`([^`]+)`", cell))


def test_the_bytes_of_the_readme_s_handshake_are_right():
    text = sections("README.md")["A handshake, byte by byte"]
    ((head, body),) = re.findall(r"^host    ([0-9a-f ]+ 00) +(\{.+\})$", text, re.MULTILINE)
    assert bytes.fromhex(head) == struct.pack("<IIB", 5 + len(body), 0, 0)
    assert json.loads(body)["protocol"] == 3
    ((head, size),) = re.findall(r"^host    ([0-9a-f ]+)  ff d8 ff e0 … ([\d,]+) bytes", text, re.MULTILINE)
    assert bytes.fromhex(head) == struct.pack("<IIBB", 6 + int(size.replace(",", "")), 1, 1, 0)


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


def test_the_example_of_the_node_library_is_the_one_that_its_own_tests_run():
    library = next(block for block in blocks("README.md", "js") if '"inferpipe"' in block)
    ours, theirs = library.strip().splitlines(), blocks("hosts/node/README.md", "js")[0].strip().splitlines()
    assert [line for line in theirs if line in ours] == ours


def test_the_node_host_of_the_readme_runs(tmp_path, picture):
    node = shutil.which("node")
    if node is None:
        assert "INFERPIPE_CI" not in os.environ, "node is missing"
        pytest.skip("node is not installed")
    text = next(block for block in blocks("README.md", "js") if "node:child_process" in block)
    (tmp_path / "host.mjs").write_text(text, encoding="utf-8")
    lines = run([node, str(tmp_path / "host.mjs"), sys.executable, "fake:echo?size=64", str(picture)])
    assert lines == ["ready on fake", "1 found", "777 1 [ 0, 0, 48, 32 ]"]
