"""Composition root: wires pipes, slots, dispatcher and replies. Importing it loads no heavy library."""
