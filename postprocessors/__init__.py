"""Makes a model's raw outputs into results in pixels of the source picture.

`bind` is the way in: it looks a name up in `POSTPROCESSORS` and binds what it finds to a
model. A new postprocessor is one file and one line in the table; other distributions
register theirs as entry points of the group `inferpipe.postprocessors`, in the same form.
"""

from importlib import import_module
from typing import TYPE_CHECKING, cast

from postprocessors.base import (
    BoundPostprocessor,
    PostprocessorError,
    PostprocessorFactory,
    PostprocessorSettings,
)
from runtimes.spec import ModelDescription

ENTRY_POINT_GROUP = "inferpipe.postprocessors"

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

POSTPROCESSORS: dict[str, str] = {
    "yolo": "postprocessors.yolo:bind_yolo",
    "yolov5": "postprocessors.yolo:bind_yolov5",
    "yolov8": "postprocessors.yolo:bind_yolov8",
    "yolov10": "postprocessors.yolo:bind_yolov10",
    "yolox": "postprocessors.yolo:bind_yolox",
    "ssd": "postprocessors.ssd:bind_ssd",
    "raw": "postprocessors.raw:bind_raw",
}
"""Name in a model's configuration -> "module:factory", imported when a model asks for it."""


def bind(
    name: str, model: ModelDescription, settings: PostprocessorSettings | None = None
) -> BoundPostprocessor:
    """Bind the postprocessor called `name` to a model.

    Raises:
        PostprocessorError: nothing has that name, it cannot be imported, or it does not fit
            the model (`UnknownFamilyError` …).
    """
    return _factory(name)(model, settings or PostprocessorSettings())


def _factory(name: str) -> PostprocessorFactory:
    """The built-ins come first: nobody replaces "yolo" by installing something."""
    try:
        if name in POSTPROCESSORS:
            module, _, attribute = POSTPROCESSORS[name].partition(":")
            return cast("PostprocessorFactory", getattr(import_module(module), attribute))
        return cast("PostprocessorFactory", _third_party(name).load())
    except (ImportError, AttributeError) as error:
        raise PostprocessorError(f'postprocessor "{name}" cannot be imported: {error}') from error


def _third_party(name: str) -> "EntryPoint":
    """Find an entry point; looked for only then, because the search reads every distribution."""
    from importlib.metadata import entry_points  # noqa: PLC0415 - 20 ms that a start without third parties need not wait for

    found = entry_points(group=ENTRY_POINT_GROUP)
    if name in found.names:
        return found[name]
    known = ", ".join([*POSTPROCESSORS, *sorted(found.names - POSTPROCESSORS.keys())])
    raise PostprocessorError(f'unknown postprocessor "{name}"; known are: {known}')
