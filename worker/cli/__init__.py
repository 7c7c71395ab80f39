"""The command line for a person; results go to stdout, all else to stderr."""


def run(words: list[str]) -> int:
    """Run a command; returns the exit status."""
    raise SystemExit(f"later: {words}")
