"""GStreamer's RTSP server, for the distribution's Python: PORT PIPELINE USER:PASSWORD sizes, or --check.

Sends until its standard input closes, at the latest with the test's process.
"""

from __future__ import annotations

import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
ELEMENTS = ("x264enc", "rtph264pay", "jpegenc", "rtpjpegpay", "videotestsrc")
ROLE = "user"


def main() -> int:
    if sys.argv[1] == "--check":
        return 0 if all(map(Gst.ElementFactory.find, ELEMENTS)) else 1
    port, words, login, sizes = sys.argv[1:]
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(words)
    factory.set_shared(True)
    if login:
        require(login, server, factory)
    if sizes:
        factory.connect("media-configure", change_sizes)
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    loop = GLib.MainLoop()
    threading.Thread(target=lambda: (sys.stdin.read(), loop.quit()), daemon=True).start()
    print("ready", flush=True)
    loop.run()
    return 0


def require(login: str, server: GstRtspServer.RTSPServer, factory: GstRtspServer.RTSPMediaFactory) -> None:
    """Let only this user in."""
    user, _, password = login.partition(":")
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", ROLE)
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    role = f"{ROLE},media.factory.access=true,media.factory.construct=true"
    factory.add_role_from_structure(Gst.Structure.new_from_string(role))


def change_sizes(_: object, media: GstRtspServer.RTSPMedia) -> None:
    """Halve the size, and restore it, each second."""
    size = media.get_element().get_by_name("size")
    large = size.get_property("caps")
    small = large.copy()
    for name in ("width", "height"):
        small.set_value(name, large.get_structure(0).get_value(name) // 4 * 2)
    chosen = [small, large]

    def change() -> bool:
        size.set_property("caps", chosen[0])
        chosen.reverse()
        return True

    GLib.timeout_add(1000, change)


sys.exit(main())
