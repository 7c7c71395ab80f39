"""Measures the worker against bare loops and a reference reader, in alternation; see README.md."""
