"""Where the drivers of the host libraries are, and how they are built."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.host_scenario import Language
from bench.scenario_base import Link

ROOT = Path(__file__).resolve().parents[2]
_NODE = ROOT / "hosts" / "node"
_RUST = ROOT / "hosts" / "rust"


@dataclass(frozen=True, slots=True)
class Library:
    """A host library, by its driver."""

    command: tuple[str, ...]
    """Starts the driver."""
    needs: tuple[Path, ...]
    """What must be there for it."""
    build: str
    """The command that makes what is needed."""
    link: Link
    """What it gives its workers to talk through."""

    @property
    def lacking(self) -> str:
        """Why the driver cannot be started; "" where it can."""
        if shutil.which(self.command[0]) is None:
            return f"no {Path(self.command[0]).name} here: {self.build}"
        missing = [path for path in self.needs if not path.exists()]
        return f"no {_shown(missing[0])} here: {self.build}" if missing else ""


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _cargo_target() -> Path:
    """Return where cargo builds the crate when it is called in the project's root."""
    return ROOT / os.environ.get("CARGO_TARGET_DIR", _RUST / "target")


def own_libraries() -> Mapping[Language, Library]:
    """Return the project's libraries, by language."""
    return {
        "node": Library(
            ("node", str(_NODE / "bench" / "driver.mjs")),
            needs=(_NODE / "dist" / "index.js",),
            build="npm --prefix hosts/node install && npm --prefix hosts/node run build",
            link="socket",
        ),
        "rust": Library(
            (str(_cargo_target() / "release" / "examples" / "bench_driver"),),
            needs=(),
            build="cargo build --release --manifest-path hosts/rust/Cargo.toml --example bench_driver",
            link="pipe",
        ),
    }
