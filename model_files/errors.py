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
