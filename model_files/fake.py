"""References to fake models: `fake:noop?size=640` names a double in `runtimes.fake`, and no file."""

from pathlib import Path

from model_files.base import ModelFiles, ModelRef
from model_files.errors import InvalidReferenceError, MissingFileError


class FakeModelFiles:
    """Passes `fake:` references through; the fake runtime reads `ModelFiles.uri` alone."""

    def get_file(self, model_id: str, file_path: str) -> bytes:
        """Always raises `MissingFileError`: a fake model has no files."""
        raise MissingFileError(f"{model_id} is a fake model: it has no file {file_path!r}")

    def local_files(self, ref: ModelRef) -> ModelFiles:
        """Return the reference itself.

        Raises:
            InvalidReferenceError: a digest is asked for, and there is nothing to check it against.
        """
        if ref.sha256 is not None:
            raise InvalidReferenceError(
                f"{ref.uri} is a fake model: there is no file to check sha256 against"
            )
        return ModelFiles(path=Path(ref.uri), uri=ref.uri)

    def list_files(self, model_id: str) -> tuple[str, ...] | None:
        """Return that there are none."""
        return ()
