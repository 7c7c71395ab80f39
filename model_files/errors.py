"""Everything that can go wrong between a reference and a file on the local disk."""


class ModelFileError(Exception):
    """Root of this room's errors; the text is one line for a person."""


class InvalidReferenceError(ModelFileError):
    """A reference cannot be read: empty, a malformed URI, a digest that is none."""


class MissingFileError(ModelFileError):
    """Nothing can be read at the place that a reference names."""


class DigestMismatchError(ModelFileError):
    """A file is there, but is not the one that the reference's `sha256` names."""


class UnsupportedSchemeError(ModelFileError):
    """No provider resolves references of this scheme, in this version or at all."""


class SourceFailedError(ModelFileError):
    """A place in the network refused a file, or sent something else than it had announced."""


class SourceUnavailableError(SourceFailedError):
    """A place in the network cannot be reached, or broke off; the same may work a moment later."""

    def __init__(self, text: str, retry_after_s: float | None = None) -> None:
        """Say what happened, and after how many seconds the place itself asks to be tried again."""
        super().__init__(text)
        self.retry_after_s = retry_after_s


class FileTooLargeError(ModelFileError):
    """A file is larger than `maxFileBytes` allows, or than can be handed out in one piece."""


class CacheError(ModelFileError):
    """The cache folder cannot be written or read: no rights, no room, a file system that cannot do it."""


class TransferCancelledError(ModelFileError):
    """Nobody waits for a file any longer."""

    def __init__(self, text: str = "nobody waits for the file any longer") -> None:
        """Say why, where it is not that."""
        super().__init__(text)
