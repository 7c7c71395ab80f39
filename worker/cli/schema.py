"""`python -m worker schema`: the JSON Schema of the handshake's configuration."""

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare nothing: there is one schema."""


def run(arguments: argparse.Namespace) -> int:
    """Print it."""
    from worker.config_schema import json_schema  # noqa: PLC0415 - help needs none of it

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0
