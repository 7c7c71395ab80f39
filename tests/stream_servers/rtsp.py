#!/usr/bin/python3
"""Serve the H.264 of a clip over RTSP on loopback: a program for a Python that has GStreamer's RTSP server.

Prints one line, the port, when it serves; ends when its stdin does. The path is /clip; every client gets
the clip from its beginning, at the pace of its timestamps.
"""

import argparse
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstApp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstApp, GstRtspServer  # noqa: E402, F401 - versions are chosen first

DEMUXERS = {".mp4": "qtdemux", ".mkv": "matroskademux", ".ts": "tsdemux"}
CAPS = "video/x-h264,stream-format=byte-stream,alignment=au"


def read_clip(path):
    """Return (bytes, timestamp in ns) of each access unit, and the clip's length in ns."""
    demuxer = DEMUXERS[path[path.rindex(".") :]]
    units_of = f"h264parse config-interval=-1 ! {CAPS} ! appsink name=out sync=false"
    pipeline = Gst.parse_launch(f'filesrc location="{path}" ! {demuxer} ! {units_of}')
    sink = pipeline.get_by_name("out")
    pipeline.set_state(Gst.State.PLAYING)
    units = []
    while (sample := sink.emit("try-pull-sample", 5 * Gst.SECOND)) is not None:
        buffer = sample.get_buffer()
        units.append((buffer.extract_dup(0, buffer.get_size()), buffer.pts))
    pipeline.set_state(Gst.State.NULL)
    if len(units) < 2:
        sys.exit(f"no H.264 in {path}")
    first = units[0][1]
    units = [(data, pts - first) for data, pts in units]
    return units, units[-1][1] + units[1][1]


class ClipFactory(GstRtspServer.RTSPMediaFactory):
    """Makes the media of each client: an appsrc that is fed from the clip in memory."""

    def __init__(self, clip, looped):
        super().__init__()
        self.units, self.length = clip
        self.looped = looped
        self.set_launch(
            f"( appsrc name=clip is-live=false format=time caps={CAPS} ! h264parse ! rtph264pay name=pay0 )"
        )

    def do_configure(self, media):
        """Begin to feed this client's media."""
        source = media.get_element().get_by_name_recurse_up("clip")
        source.connect("need-data", self.feed, {"next": 0})

    def feed(self, source, _wanted, state):
        """Give one access unit, or the end."""
        round_, place = divmod(state["next"], len(self.units))
        if round_ and not self.looped:
            source.emit("end-of-stream")
            return
        data, pts = self.units[place]
        buffer = Gst.Buffer.new_wrapped(data)
        buffer.pts = buffer.dts = pts + round_ * self.length
        state["next"] += 1
        source.emit("push-buffer", buffer)


def demand(server, factory, user, password):
    """Let in only this user."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_role("user")
    permissions.add_permission_for_role("user", "media.factory.access", True)
    permissions.add_permission_for_role("user", "media.factory.construct", True)
    factory.set_permissions(permissions)


def main():
    """Serve until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip")
    parser.add_argument("--port", default="0")
    parser.add_argument("--loop", action="store_true")
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    arguments = parser.parse_args()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(arguments.port)
    factory = ClipFactory(read_clip(arguments.clip), arguments.loop)
    if arguments.user:
        demand(server, factory, arguments.user, arguments.password)
    server.get_mount_points().add_factory("/clip", factory)
    if not server.attach(None):
        sys.exit("the port cannot be had")
    loop = GLib.MainLoop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    sys.stdout.write(f"{server.get_bound_port()}\n")
    sys.stdout.flush()
    loop.run()


main()
