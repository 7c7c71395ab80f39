"""Everything that can go wrong while a frame is kept."""


class FrameCacheError(Exception):
    """Root of this room's errors; the text is one line for a person."""


class FrameTooLargeError(FrameCacheError):
    """A frame alone is larger than the whole budget."""


class RegionError(FrameCacheError):
    """A shared-memory region cannot be attached, or not be read as a request asks for it."""


class RegionUnreachableError(RegionError):
    """A region is another process's descriptor, and the system lets the worker not open it."""
