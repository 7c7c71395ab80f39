"""The wire protocol, sans-I/O: bytes into typed messages and back.

Knows no clock, no pipe and no image library. `framing` is the length-prefixed packet in
both directions, `packet` the worker's incremental decoder, `messages` and `references` the
typed bodies, `picture` the pictures in them, `commands` the JSON commands, `options` the per-request
options, `errors` the codes and texts, `session` the handshake.
"""
