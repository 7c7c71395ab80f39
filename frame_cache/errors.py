"""Everything that can go wrong while a frame is kept."""


class FrameCacheError(Exception):
    """Root of this room's errors; the text is one line for a person."""


class FrameTooLargeError(FrameCacheError):
    """A frame alone is larger than the whole budget."""
