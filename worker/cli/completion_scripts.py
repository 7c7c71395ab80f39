"""The completion scripts of three shells, each made from the same table."""

from collections.abc import Callable, Iterable, Sequence

from worker.cli.completion_table import CommandWords, Option

Script = Callable[[Sequence[CommandWords]], str]

_BASH = """\
# bash completion of inferpipe
_inferpipe() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} command= word
    COMPREPLY=()
    for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case $word in {names}) command=$word; break ;; esac
    done
    case "$command $previous" in
{values}
    esac
    local flags= words=
    case $command in
{commands}
    esac
    [[ $current == -* ]] && words=$flags
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _inferpipe inferpipe
"""

_ZSH = """\
#compdef inferpipe
_inferpipe() {{
    local -a commands=({names})
    local state
    _arguments -C {own} '1:command:->command' '*::argument:->argument'
    case $state in
        command) _describe command commands ;;
        argument)
            case $words[1] in
{commands}
            esac ;;
    esac
}}
compdef _inferpipe inferpipe
"""


def bash(table: Sequence[CommandWords]) -> str:
    """Return the script for bash; where nothing of ours fits, it completes file names."""
    own, *commands = table
    names = [command.name for command in commands]
    values = [
        f'        "{command.name} {flag}") COMPREPLY=({_compgen(option)}); return ;;'
        for command in commands
        for option in command.options
        if option.takes_value
        for flag in option.flags
    ]
    cases = [
        f'        {command.name}) flags="{" ".join(command.flags)}" words="{" ".join(command.words)}" ;;'
        for command in commands
    ]
    cases.append(f'        *) flags="{" ".join(own.flags)}" words="{" ".join(names)}" ;;')
    return _BASH.format(names="|".join(names), values="\n".join(values), commands="\n".join(cases))


def zsh(table: Sequence[CommandWords]) -> str:
    """Return the script for zsh."""
    own, *commands = table
    return _ZSH.format(
        names=" ".join(f"'{command.name}:{command.text}'" for command in commands),
        own=" ".join(map(_zsh_option, own.options)),
        commands="\n".join(
            f"                {command.name}) _arguments {' '.join(map(_zsh_option, command.options))} ;;"
            for command in commands
        ),
    )


def fish(table: Sequence[CommandWords]) -> str:
    """Return the script for fish."""
    own, *commands = table
    lines = ["# fish completion of inferpipe"]
    lines += [f"complete -c inferpipe -n __fish_use_subcommand {_fish_option(one)}" for one in own.options]
    for command in commands:
        lines.append(
            f"complete -c inferpipe -n __fish_use_subcommand -f -a {command.name} -d '{command.text}'"
        )
        within = f"complete -c inferpipe -n '__fish_seen_subcommand_from {command.name}'"
        lines += [f"{within} {_fish_option(option)}" for option in command.options]
    return "\n".join(lines) + "\n"


def _compgen(option: Option) -> str:
    return f'$(compgen -W "{" ".join(option.values)}" -- "$current")' if option.values else ""


def _zsh_option(option: Option) -> str:
    value = f":value:{_zsh_values(option)}" if option.takes_value else ""
    if not option.flags:
        return f"'*:value:{_zsh_values(option)}'"
    return " ".join(f"'{flag}[{option.text}]{value}'" for flag in option.flags)


def _zsh_values(option: Option) -> str:
    if option.values:
        return f"({' '.join(option.values)})"
    return "_files" if option.files else ""


def _fish_option(option: Option) -> str:
    values = f" -a '{' '.join(option.values)}'" if option.values else ""
    if not option.flags:
        return f"-F{values}" if option.files else f"-f{values}"
    need = (" -r -F" if option.files else " -x") if option.takes_value else ""
    return _fish_flags(option.flags) + need + values + f" -d '{option.text}'"


def _fish_flags(flags: Iterable[str]) -> str:
    return " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in flags)


SCRIPTS: dict[str, Script] = {"bash": bash, "zsh": zsh, "fish": fish}
