"""What a shell can complete, read from the parser: commands, their options, and values."""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from postprocessors import POSTPROCESSORS
from runtimes import runtime_names
from runtimes.onnx_devices import DEVICES
from worker.cli.parser import COMMANDS

VALUES: dict[str, Callable[[], Iterable[str]]] = {
    "--runtime": lambda: ("auto", *runtime_names()),
    "--device": lambda: DEVICES,
    "--postprocessor": lambda: POSTPROCESSORS,
    "--hwaccel": lambda: ("auto", "cuda", "vaapi", "qsv", "videotoolbox", "d3d11va"),
}
"""Options with values that are worth offering, though others are allowed."""

_SAFE = str.maketrans(
    {"[": "(", "]": ")", ":": ";", "'": "\u2019", '"': "\u2019", **dict.fromkeys("`$\\", " ")}
)
"""Characters that one of the shells reads as syntax within a quoted text, and what stands for them."""

_FILES = frozenset({"--against", "--image", "--model", "--labels", "--out"})


@dataclass(frozen=True, slots=True)
class Option:
    """An option, or a place where a word is expected (its flags are empty then)."""

    flags: tuple[str, ...]
    text: str
    takes_value: bool
    values: tuple[str, ...] = ()
    files: bool = False
    """Whether the value is a path."""


@dataclass(frozen=True, slots=True)
class CommandWords:
    """One command."""

    name: str
    text: str
    options: tuple[Option, ...]

    @property
    def flags(self) -> tuple[str, ...]:
        return tuple(flag for option in self.options for flag in option.flags)

    @property
    def words(self) -> tuple[str, ...]:
        """What may stand where no option is."""
        return tuple(value for option in self.options if not option.flags for value in option.values)


def described(parser: argparse.ArgumentParser) -> list[CommandWords]:
    """Return the program itself, under the name "", and its commands."""
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    own = CommandWords("", "", tuple(map(_option, _options(parser))))
    return [own, *(_command(name, COMMANDS[name].summary, sub) for name, sub in commands.choices.items())]


def _command(name: str, text: str, parser: argparse.ArgumentParser) -> CommandWords:
    options = [*map(_option, _options(parser)), *_nested(parser)]
    by_flags = {option.flags or index: option for index, option in enumerate(options)}
    return CommandWords(name, _plain(text), tuple(by_flags.values()))


def _nested(parser: argparse.ArgumentParser) -> list[Option]:
    """Return the actions of a command that has some, and the options of all of them."""
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found.append(Option((), "", True, tuple(action.choices)))
            found += [_option(own) for sub in action.choices.values() for own in _options(sub)]
    return found


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if not isinstance(action, argparse._SubParsersAction)]


def _option(action: argparse.Action) -> Option:
    flags = tuple(action.option_strings)
    offered = next((VALUES[flag]() for flag in flags if flag in VALUES), action.choices or ())
    values = tuple(map(str, offered))
    is_path = bool(_FILES.intersection(flags)) or (not flags and not values)
    return Option(flags, _plain(_help(action)), action.nargs != 0, values, is_path)


def _help(action: argparse.Action) -> str:
    return (action.help or "") % {"default": action.default, "prog": ""}


def _plain(text: str) -> str:
    """Return a text without what a shell reads as syntax."""
    return text.translate(_SAFE)
