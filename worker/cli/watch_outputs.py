"""Sees that the frames of `watch` can go where they are wanted, before anything else is done."""

from pathlib import Path

from postprocessors.window import Window, lack
from worker.cli.failures import STATUS_USAGE, CommandFailed
from worker.cli.terminal import printable
from worker.cli.watch_containers import CONTAINERS
from worker.cli.watch_local import Outputs
from worker.cli.watch_source import Watched
from worker.cli.watch_video import AnnotatedVideo


def outputs(out: Path | None, watched: Watched, *, force: bool, show: bool) -> Outputs:
    """Return where frames go. No file is made and no window opened yet.

    Args:
        out: the video to be written, if any.
        watched: the source.
        force: whether that may replace a file.
        show: whether a window is wanted.

    Raises:
        CommandFailed: one of them cannot be had.
    """
    if show and (why := lack()):
        then = (
            "write a video instead: --out boxes.mp4; or pip uninstall opencv-python-headless; "
            "pip install opencv-python"
        )
        raise CommandFailed("no window can be opened", why, then)
    if out is not None:
        _check(out, watched, force=force)
    return Outputs(AnnotatedVideo(out) if out else None, Window(f"watch {watched.name}") if show else None)


def _check(out: Path, watched: Watched, *, force: bool) -> None:
    name = printable(out)
    if out.suffix.lower() not in CONTAINERS:
        why = f"its name must end in {', '.join(CONTAINERS)}"
        raise CommandFailed(f"{name} cannot be written", why, "name the video boxes.mp4", status=STATUS_USAGE)
    if out.is_dir():
        raise CommandFailed(f"{name} cannot be written", "it is a folder", f"name a file: {name}/boxes.mp4")
    if not out.exists():
        return
    if watched.path is not None and watched.path.exists() and out.samefile(watched.path):
        raise CommandFailed(f"{name} cannot be written", "it is what is watched", "choose another name")
    if not force:
        raise CommandFailed(
            f"{name} cannot be written", "it is there already", "choose another name, or --force"
        )
