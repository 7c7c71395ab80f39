"""Decoding on a device, where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av
from av.codec.hwaccel import HWAccel, hwdevices_available

if TYPE_CHECKING:
    from av.video.stream import VideoStream


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a decoder may use."""

    device: str | None = None
    """Its type; None decodes in software."""
    accelerator: HWAccel | None = None
    fallback: str | None = None
    """Why software decodes though a device was asked for."""

    def in_effect(self, stream: VideoStream, frame: av.VideoFrame) -> dict[str, Any]:
        """Return what "started" says, by the first frame that was decoded."""
        if self.device is None:
            return {"hardware": None, **({"hardwareFallback": self.fallback} if self.fallback else {})}
        context = stream.codec_context
        if context.is_hwaccel and context.pix_fmt != frame.format.name:
            return {"hardware": self.device}
        name = context.codec.canonical_name
        return {"hardware": None, "hardwareFallback": f"{self.device} does not decode this {name}"}


def find_hardware(asked: str | None) -> Hardware:
    """Try the device that is asked for, or each that this library was built with; never fails."""
    if asked is None:
        return Hardware()
    built = [device for device in hwdevices_available() if device not in _NO_DECODERS]
    if asked != "auto" and asked not in built:
        return Hardware(fallback=f"this PyAV was built without {asked} (it has {', '.join(built) or 'none'})")
    reasons = []
    for device in built if asked == "auto" else [asked]:
        reason = _refusal(device)
        if reason is None:
            return Hardware(device, HWAccel(device, allow_software_fallback=True))
        reasons.append(f"{device}: {reason}")
    return Hardware(fallback="; ".join(reasons) or "this PyAV was built without hardware decoders")


def _refusal(device: str) -> str | None:
    """Return why a device does not open; tried before a stream is: a pushed one cannot be read twice."""
    try:
        HWAccel(device).create(av.Codec("h264", "r"))
    except NotImplementedError:
        return "it decodes no H.264"
    except (av.error.FFmpegError, RuntimeError, ValueError) as error:
        return f"it does not open ({getattr(error, 'strerror', None) or error})"
    return None


_NO_DECODERS = frozenset({"drm", "opencl", "amf"})
"""Kinds of devices that decode nothing by themselves, or nothing on this side."""
