"""The host libraries as subjects: each behind a driver in its own language."""
