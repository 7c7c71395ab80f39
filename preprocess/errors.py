"""Everything that can go wrong between a frame's bytes and a tensor."""


class PreprocessError(Exception):
    """Root of this room's errors; the text is one line for a person."""


class DecodeError(PreprocessError):
    """An encoded picture is broken, cut short, or of a kind that is not taken."""


class PictureTooLargeError(PreprocessError):
    """A picture has more pixels than allowed; known before it is decoded."""


class RawFrameError(PreprocessError):
    """A raw frame's width and height are unusable, or do not go with its bytes."""


class RegionError(PreprocessError):
    """A region of interest is empty, or does not lie within its picture."""


class UnsupportedInputError(PreprocessError):
    """A model asks for tensors that this room does not make; known when the model is loaded."""
