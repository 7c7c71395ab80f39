"""Programs that load models behind a hook that forbids sockets to anywhere else."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

PROLOGUE = """
import json, os, sys
from pathlib import Path

allowed = set(json.loads(os.environ["ALLOWED"]))
def forbid(event, args):
    if event == "socket.connect" and f"{args[1][0]}:{args[1][1]}" not in allowed:
        os.write(2, f"a socket to {args[1]}".encode())
        os._exit(77)
    if event in {"socket.getaddrinfo", "socket.gethostbyname"} and args[0] not in {"127.0.0.1", "127.0.0.2"}:
        os.write(2, f"a look-up of {args[0]}".encode())
        os._exit(77)
sys.addaudithook(forbid)

from model_files import Providers
from model_files.hub_interception import HubInterception
from model_files.settings import HubSettings, ModelCacheSettings, ProviderSettings

cache = Path(os.environ["CACHE"])
settings = ProviderSettings(
    cache_dir=cache,
    retry_for_s=1,
    modelcache=ModelCacheSettings(os.environ.get("OWN_MODEL_CACHE", "")),
    hf=HubSettings(os.environ.get("OWN_HUB")),
)
base = os.environ["BASE"]
provider = Providers(settings).provider_for(base)
answer = {}
"""
EPILOGUE = """
print(json.dumps(answer))
"""


class Place:
    """Where the models of a test are, and the programs that load them."""

    def __init__(self, tmp_path: Path) -> None:
        self.cache = tmp_path / "cache"
        self.home = tmp_path / "home"
        self.home.mkdir()

    def run(self, base: str, program: str, allowed: tuple[str, ...] = (), **variables: str) -> Any:
        """Run a program behind the hook; returns its `answer`."""
        dropped = ("HF_", "HUGGINGFACE_", "TRANSFORMERS_", "XDG_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
        environment |= {
            "BASE": base,
            "CACHE": str(self.cache),
            "ALLOWED": json.dumps(allowed),
            "HOME": str(self.home),
        }
        done = subprocess.run(
            [sys.executable, "-c", PROLOGUE + textwrap.dedent(program) + EPILOGUE],
            env=environment | variables,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])


def everything_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def address(url: str) -> str:
    return url.removeprefix("http://")
