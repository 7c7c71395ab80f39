"""What ends a stream before its end, in words for a person, with what to do next."""

import re

from protocol.stream_open import UrlFrom
from worker.cli.failures import CommandFailed
from worker.cli.terminal import program
from worker.cli.watch_source import Watched

_REACHED = {
    "not_found": "check the path in the URL: the server knows no such stream",
    "unauthorized": "put the user and the password into the URL: rtsp://user:password@host/…",
    "unreachable": "check the address, and that the server is on and in the same network",
    "timeout": "check that the server still sends; a slow one may come when it is tried again",
    "interrupted": "try it again; the connection broke",
    "refused": "check the port: nobody listens there",
}
"""By the reason why a place gives nothing."""

_INSTALL = re.compile(r"pip install \S+")
_STEP = re.compile(r"; (?=check |convert )")
"""Where an error's own text goes over to what to do."""
_PREFIXES = ("frame decode failed: ",)


def stream_failure(watched: Watched, frames: int, code: str, text: str, reason: str | None) -> CommandFailed:
    """Return what happened, why, and the next step.

    Args:
        watched: what ended.
        frames: that came before.
        code: as the protocol names it.
        text: the error's.
        reason: of a place that cannot be reached; None for all else.
    """
    what = f"{watched.name} {'broke off' if frames else 'cannot be watched'}"
    for prefix in _PREFIXES:
        text = text.removeprefix(prefix)
    why, *steps = _STEP.split(text, maxsplit=1)
    if install := _INSTALL.search(text):
        steps = [install[0]]
    return CommandFailed(what, why, steps[0] if steps else _next_step(watched, frames, code, reason))


def _next_step(watched: Watched, frames: int, code: str, reason: str | None) -> str:
    if isinstance(watched.source, UrlFrom) and reason in _REACHED:
        return _REACHED[reason]
    if code == "decode_failed" and frames:
        return "the frames before that were told; a tool that repairs videos may get at the others"
    if code in {"decode_failed", "unsupported"} and (watched.path or watched.is_stdin):
        return "give a video that is whole: MP4, MKV, WebM, MPEG-TS, …"
    if code == "provider_failed":
        return "see that it is there, and that this user may use it; --debug shows the worker's log"
    return f"{program()} doctor shows what works here; --debug shows the worker's log"
