"""The generated code is that of the contract, and the contract is the one that other languages speak."""

import os
from pathlib import Path

import pytest

from protos.generated import model_management_pb2 as messages
from tools.protos import GENERATED, generate


def test_the_generated_code_is_up_to_date(tmp_path: Path) -> None:
    if "INFERPIPE_CI" not in os.environ:
        pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    generate(tmp_path)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_text() for path in GENERATED.glob("*_pb2*.py*")}
    assert made == committed, "run: python -m tools.protos"


def test_the_bytes_on_the_wire() -> None:
    request = messages.ModelFileRequest(model_id="demo/m", file_path="a.bin")
    assert request.SerializeToString() == b"\x0a\x06demo/m\x12\x05a.bin"
    chunk = messages.ModelFileChunk(data=b"xyz", offset=1, total_size=300, is_last=True)
    assert chunk.SerializeToString() == b"\x0a\x03xyz\x10\x01\x18\xac\x02\x20\x01"


def test_the_service() -> None:
    service = messages.DESCRIPTOR.services_by_name["ModelManagementService"]
    (method,) = service.methods
    assert service.full_name == "ml.ModelManagementService"
    assert (method.name, method.client_streaming, method.server_streaming) == ("GetModelFile", False, True)
