"""What must be complete, and what must stay out: handlers, documentation, heavy libraries."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.commands import COMMANDS
from protocol.errors import ErrorCode
from protocol.messages import MESSAGE_TYPES
from protocol.options import OPTION_NAMES
from protocol.stream_open import SOURCE_TYPES, STREAM_OPTION_NAMES
from worker.handlers import HANDLERS, UNANSWERED

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "onnxruntime", "openvino", "mediapipe", "transformers", "grpc", "av", "cv2")


@pytest.fixture(scope="module")
def protocol_doc() -> str:
    return (ROOT / "docs/protocol.md").read_text()


def test_every_message_type_has_a_handler_and_no_handler_is_for_another():
    assert set(HANDLERS) | set(UNANSWERED) == set(MESSAGE_TYPES.values())
    assert not set(HANDLERS) & set(UNANSWERED)


@pytest.mark.parametrize("message", MESSAGE_TYPES.values(), ids=lambda message: message.__name__)
def test_every_message_type_has_a_row_in_the_documentation(protocol_doc, message):
    row = rf"^\|.*0x{message.TYPE:02X}.*\b{message.TYPE.name}\b.*\|$"
    assert re.search(row, protocol_doc, re.MULTILINE | re.IGNORECASE)


@pytest.mark.parametrize("name", [*COMMANDS, *OPTION_NAMES, *STREAM_OPTION_NAMES, *SOURCE_TYPES, *ErrorCode])
def test_every_command_option_and_code_is_in_the_documentation(protocol_doc, name):
    assert f"`{name}`" in protocol_doc


@pytest.mark.parametrize("module", ["worker", "worker.__main__", "worker.app", "worker.client"])
def test_importing_the_worker_loads_no_heavy_library(module):
    code = f"import json, sys, {module}; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, cwd=ROOT, check=True, timeout=100
    )
    assert json.loads(done.stdout) == []
