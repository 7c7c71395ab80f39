"""What can end a stream before its end; each says what a host is told."""


class StreamError(Exception):
    """A stream cannot be opened, or cannot go on. Its text is for people, and has no secrets."""


class BadStreamError(StreamError):
    """What came breaks the rules: a header that says something impossible, a frame cut short."""


class UnsupportedStreamError(StreamError):
    """Nothing here can read it: no video in it, no decoder for it, a library or a device that is missing."""


class BrokenStreamError(StreamError):
    """The data are damaged or end too early; the text says where, and the frames before it were given."""


class StreamTooLargeError(StreamError):
    """A frame has more pixels, or a stream more bytes, than it may; or the disk is full."""


class SourceUnavailableError(StreamError):
    """A place cannot be reached, refuses, or falls silent."""

    def __init__(self, text: str, reason: str) -> None:
        """Create it.

        Args:
            text: what happened, with the next step; no user name and no password of a URL.
            reason: "not_found", "unauthorized", "unreachable", "timeout", "interrupted" or "refused".
        """
        super().__init__(text)
        self.reason = reason
