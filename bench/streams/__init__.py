"""Streams: frames a second, the first result of an upload, and many pushed at once."""
