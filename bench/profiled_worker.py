"""The worker, with a profiler of CPU time in each of its threads.

`python -m bench.profile_worker` starts it in the worker's place. A profiler that samples from a thread
of its own would see the others only where they let the interpreter's lock go, so this one counts
calls. It makes short functions look dearer than they are: figures compare places, never versions.
"""

import os
import threading
import time
from cProfile import Profile
from pathlib import Path
from types import CodeType

from msgspec import Struct, json

OUT = "INFERPIPE_PROFILE"
"""Environment variable: the file that the figures are written to."""

WRITE_S = 0.5
"""How often."""

_ROOT = Path(__file__).resolve().parent.parent


class Place(Struct, frozen=True):
    """One function in one thread."""

    thread: str
    function: str
    calls: int
    seconds: float
    """CPU time in it, without what it calls."""


_profiles: list[tuple[str, Profile]] = []


def main() -> None:
    """Profile, and be a worker."""
    threading.Thread(target=_write_for_ever, name="profile-writer", daemon=True).start()
    threading.setprofile(_enable)
    _enable()
    from worker.__main__ import main as serve  # noqa: PLC0415 - its imports belong to the start

    serve([])


def _enable(*_: object) -> None:
    """Begin in the calling thread: the first event of a new thread ends up here, and no other."""
    profile = Profile(time.thread_time)
    _profiles.append((threading.current_thread().name, profile))
    profile.enable()


def _write_for_ever() -> None:
    path = Path(os.environ[OUT])
    fresh = path.with_suffix(".new")
    while True:
        time.sleep(WRITE_S)
        places = [place for thread, profile in list(_profiles) for place in _places(thread, profile)]
        fresh.write_bytes(json.encode(places))
        fresh.replace(path)  # whole or not at all: the worker may end at any moment


def _places(thread: str, profile: Profile) -> list[Place]:
    return [
        Place(thread, _name(entry.code), entry.callcount, entry.inlinetime) for entry in profile.getstats()
    ]


def _name(code: CodeType | str) -> str:
    if isinstance(code, str):
        return code
    path = Path(code.co_filename)
    where = str(path.relative_to(_ROOT)) if path.is_relative_to(_ROOT) else path.name
    return f"{where}:{code.co_firstlineno} {code.co_name}"


if __name__ == "__main__":
    main()
