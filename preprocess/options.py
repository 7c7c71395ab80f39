"""How a model wants its pictures, as hashable values: they are part of a cache's key."""

from dataclasses import dataclass
from enum import StrEnum

from runtimes.spec import Layout


class ResizeMode(StrEnum):
    """How a picture is fitted to the model's input."""

    LETTERBOX = "letterbox"
    """Keep the aspect ratio, pad the rest."""
    RESIZE = "resize"
    """Stretch to the input's size."""


class Anchor(StrEnum):
    """Where a letterboxed picture lies on its canvas."""

    CENTER = "center"
    TOP_LEFT = "top_left"


class ChannelOrder(StrEnum):
    """What the channels of a tensor are."""

    RGB = "rgb"
    BGR = "bgr"
    GRAY = "gray"


class ColorSpace(StrEnum):
    """The matrix that YUV pictures are converted by (limited range)."""

    BT601 = "bt601"
    BT709 = "bt709"


@dataclass(frozen=True, slots=True)
class InputRecipe:
    """How a family of models was trained to see pictures: tensor = (pixel - mean) * scale."""

    channels: ChannelOrder = ChannelOrder.RGB
    anchor: Anchor = Anchor.CENTER
    pad_value: int = 114
    """Pixel value, 0 to 255, of the letterbox's border."""
    scale: tuple[float, ...] = (1 / 255,)
    """Factor a channel, or one for all. Integer tensors take pixels as they are."""
    mean: tuple[float, ...] = (0.0,)
    """Subtracted before scaling, in pixel values, a channel or one for all."""


@dataclass(frozen=True, slots=True)
class PrepareOptions:
    """Everything that decides a tensor's contents, but for the picture and its region of interest."""

    width: int
    height: int
    """Size of the tensor in pixels."""
    layout: Layout = Layout.NCHW
    dtype: str = "float32"
    mode: ResizeMode = ResizeMode.LETTERBOX
    recipe: InputRecipe = InputRecipe()


@dataclass(frozen=True, slots=True)
class DecodeOptions:
    """Everything that decides a decoded picture's pixels, and how large it may be."""

    exif: bool = False
    """Whether to turn an encoded picture as its EXIF orientation says; else it stays as stored."""
    color_space: ColorSpace = ColorSpace.BT601
    """Of NV12 and I420."""
    max_pixels: int = 64 * 1024 * 1024
    """Width times height; a larger picture is refused before it is decoded."""
