"""`python -m worker completion SHELL`: a script that completes the command `inferpipe`.

It is made from the parser, so that it cannot lag behind it; and once, so that no shell waits for
Python at each press of Tab.
"""

import argparse

SHELLS = ("bash", "zsh", "fish")

_HOW = """\
bash:  inferpipe completion bash \\
           > ~/.local/share/bash-completion/completions/inferpipe
zsh:   eval "$(inferpipe completion zsh)"     (in .zshrc, after compinit)
fish:  inferpipe completion fish > ~/.config/fish/completions/inferpipe.fish
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the shell."""
    parser.add_argument("shell", choices=SHELLS, help="whose script to print")
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _HOW


def run(arguments: argparse.Namespace) -> int:
    """Print the script."""
    from worker.cli.completion_scripts import SCRIPTS  # noqa: PLC0415 - help needs none of them
    from worker.cli.completion_table import described  # noqa: PLC0415
    from worker.cli.parser import build_parser  # noqa: PLC0415 - it imports this file

    print(SCRIPTS[arguments.shell](described(build_parser())), end="")
    return 0
