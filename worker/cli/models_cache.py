"""What the actions of `models` share: the providers that are asked, and how sizes and times are shown."""

import argparse
import contextlib
import dataclasses
import json
import time
from collections.abc import Iterator
from pathlib import Path

from model_files import Providers
from model_files.errors import CacheError, ModelFileError
from model_files.settings import ProviderSettings
from worker.cli.failures import STATUS_USAGE, CommandFailed
from worker.cli.terminal import note, program
from worker.config import parse_provider
from worker.config_readers import ConfigError

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


def providers_of(arguments: argparse.Namespace) -> Providers:
    """Return the providers that the words of the command ask for.

    Raises:
        CommandFailed: --provider cannot be read.
    """
    settings = _settings(arguments.provider)
    if arguments.cache_dir:
        settings = dataclasses.replace(settings, cache_dir=Path(arguments.cache_dir).expanduser())
    return Providers(settings)


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """Tell a person of a model that cannot be had."""
    try:
        yield
    except CacheError as error:
        raise CommandFailed(what, str(error), "--cache-dir names another folder") from error
    except ModelFileError as error:
        then = f"check the reference; {program()} models fetch --help names the options"
        raise CommandFailed(what, str(error), then) from error


def age_text(when: float | None) -> str:
    """Return how long ago a Unix time was; "never" for None."""
    if when is None:
        return "never"
    seconds = max(0.0, time.time() - when)
    count, unit = next(((seconds // size, unit) for size, unit in _UNITS if seconds >= size), (0, ""))
    return f"{count:.0f} {unit} ago" if unit else "now"


def _settings(text: str | None) -> ProviderSettings:
    if text is None:
        return ProviderSettings()
    then = 'give the object as a configuration has it: \'{"modelcache": {"target": "host:50052"}}\''
    try:
        provider, warnings = parse_provider(json.loads(text), "provider")
    except json.JSONDecodeError as error:
        raise CommandFailed("--provider is no JSON", str(error), then, status=STATUS_USAGE) from error
    except ConfigError as error:
        raise CommandFailed("--provider cannot be read", str(error), then, status=STATUS_USAGE) from error
    for warning in warnings:
        note(warning)
    return provider.settings
