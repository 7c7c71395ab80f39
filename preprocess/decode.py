"""Makes pixels of a frame: decodes files, wraps raw pixels in place, converts YUV."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from preprocess.buffers import BufferPool
from preprocess.errors import PictureTooLargeError, RawFrameError
from preprocess.frame import Frame, Pixels
from preprocess.image_header import probe
from preprocess.options import DecodeOptions
from preprocess.picture_file import decode_file
from preprocess.yuv import yuv_to_bgr
from protocol.pixel_format import CHANNELS, SUBSAMPLED, PixelFormat


def decode(frame: Frame, options: DecodeOptions, pool: BufferPool) -> Pixels:
    """Return a frame's pixels, 8 bits a channel.

    Files become BGR, or GRAY where they have one channel; alpha is dropped, and of 16 bits the
    upper 8 remain. Raw RGB, BGR, GRAY, RGBA and BGRA are views of the frame's memory. NV12 and
    I420 become BGR.

    Raises:
        DecodeError: the file is broken, cut short or of another kind.
        PictureTooLargeError: more pixels than `options.max_pixels`.
        RawFrameError: a raw frame's size is unusable, or has more pixels than its data.
    """
    return _DECODERS[frame.format](frame, options, pool)


def _decode_file(frame: Frame, options: DecodeOptions, pool: BufferPool) -> Pixels:
    size = probe(frame.data)
    _refuse_larger(*size, options.max_pixels)
    array = decode_file(frame.data, size, options.exif, pool)
    return Pixels(array, PixelFormat.GRAY if array.ndim == 2 else PixelFormat.BGR)


def _wrap(frame: Frame, options: DecodeOptions, _pool: BufferPool) -> Pixels:
    channels = CHANNELS[frame.format]
    array = _raw_bytes(frame, frame.width * frame.height * channels, options)
    shape = (frame.height, frame.width, channels) if channels > 1 else (frame.height, frame.width)
    return Pixels(array.reshape(shape), frame.format)


def _decode_yuv(frame: Frame, options: DecodeOptions, pool: BufferPool) -> Pixels:
    if frame.width % 2 or frame.height % 2:
        raise RawFrameError(f"{frame.format.name} of odd size {frame.width}x{frame.height}")
    array = _raw_bytes(frame, frame.width * frame.height * 3 // 2, options)
    planes = array.reshape(frame.height * 3 // 2, frame.width)
    return Pixels(yuv_to_bgr(planes, frame.format, options.color_space, pool), PixelFormat.BGR)


def _raw_bytes(frame: Frame, nbytes: int, options: DecodeOptions) -> NDArray[np.uint8]:
    """Return the first `nbytes` of a frame, which may have more."""
    size = f"{frame.width}x{frame.height} {frame.format.name}"
    if frame.width < 1 or frame.height < 1:
        raise RawFrameError(f"{size} has no pixels")
    _refuse_larger(frame.width, frame.height, options.max_pixels)
    if frame.data.nbytes < nbytes:
        raise RawFrameError(f"{size} needs {nbytes} bytes, got {frame.data.nbytes}")
    return np.frombuffer(frame.data, np.uint8, nbytes)


def _refuse_larger(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise PictureTooLargeError(f"the picture has {width}x{height} pixels, more than {max_pixels}")


_DECODERS: dict[PixelFormat, Callable[[Frame, DecodeOptions, BufferPool], Pixels]] = {
    PixelFormat.ENCODED: _decode_file,
    **dict.fromkeys(CHANNELS, _wrap),
    **dict.fromkeys(SUBSAMPLED, _decode_yuv),
}
