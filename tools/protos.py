"""Makes protos/generated from the contracts in protos: `python -m tools.protos` (needs grpcio-tools)."""

import re
import subprocess
import sys
from pathlib import Path

PROTOS = Path(__file__).resolve().parent.parent / "protos"
GENERATED = PROTOS / "generated"

_SIBLING = re.compile(r"^import (\w+_pb2) as ", re.MULTILINE)


def generate(out: Path) -> None:
    """Compile every contract into a folder, which must exist."""
    contracts = sorted(path.name for path in PROTOS.glob("*.proto"))
    outputs = [f"--{kind}_out={out}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTOS}", *outputs, *contracts]
    subprocess.run(command, check=True)
    for path in out.glob("*_pb2_grpc.py"):
        # The compiler takes its output for top-level modules; this is a package.
        path.write_text(_SIBLING.sub(r"from protos.generated import \1 as ", path.read_text()))


if __name__ == "__main__":
    generate(GENERATED)
