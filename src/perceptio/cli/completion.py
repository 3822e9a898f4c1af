"""perceptio completion."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from perceptio.cli.arguments import parse
from perceptio.cli.options import Option, Positional, options_of
from perceptio.cli.values import metavar, num_words

HELP = """usage: perceptio completion bash|zsh|fish

examples:
  perceptio completion bash > ~/.local/share/bash-completion/completions/perceptio
  perceptio completion zsh > ~/.zfunc/_perceptio
  perceptio completion fish > ~/.config/fish/completions/perceptio.fish

Prints what teaches a shell the commands, options, values and recipes. Nothing is
installed by itself: the examples say where each shell looks. After an update,
print it again.
"""

Shell = Literal["bash", "zsh", "fish"]


@dataclass(frozen=True, kw_only=True)
class CompletionArguments:
    """What `perceptio completion` takes."""

    shell: Annotated[Shell, Positional("bash|zsh|fish")]


@dataclass(frozen=True)
class _Command:
    """What a shell must know of a command."""

    name: str
    what: str
    options: tuple[Option, ...]
    words: tuple[str, ...]
    """Words that its first place may hold, beside files."""
    actions: Mapping[str, tuple[Option, ...]]
    """The options of those of its words that have options of their own."""

    @property
    def choices(self) -> dict[str, list[str]]:
        """The values of those options that have a few."""
        return {
            option.name: metavar(option.hint).split("|")
            for option in self.options
            if not option.is_positional and "|" in metavar(option.hint)
        }


def options(words: Sequence[str] = ()) -> tuple[Option, ...]:
    """Returns all options."""
    return options_of(CompletionArguments)


def main(words: Sequence[str]) -> int:
    """Runs the command."""
    chosen = parse(CompletionArguments, words, command="completion")
    from perceptio.cli.screen import print_result

    script = {"bash": _bash, "zsh": _zsh, "fish": _fish}[chosen.shell]
    print_result(script(_commands()))
    return 0


def _commands() -> list[_Command]:
    from perceptio.cli.main import COMMANDS
    from perceptio.recipes.registry import RECIPES

    found = []
    for name, what in COMMANDS.items():
        module = importlib.import_module(f"perceptio.cli.{name}")
        # Before a recipe or data is typed, any kind of file may follow.
        known = tuple(option for option in module.options(("--data", "."))) if name == "train" else module.options()
        first = {
            "train": tuple(RECIPES),
            "info": tuple(RECIPES),
            "completion": ("bash", "zsh", "fish"),
        }
        actions = {action: module.options((action,)) for action in getattr(module, "ACTIONS", ())}
        found.append(_Command(name, what, known, first.get(name, tuple(actions)), actions))
    return found


def _names(options: Sequence[Option]) -> list[str]:
    return [*(option.name for option in options if not option.is_positional), "--help", "-H", "--debug"]


def _bash(commands: Sequence[_Command]) -> str:
    options = "\n".join(f'        {each.name}) options="{" ".join(_names(each.options))}" ;;' for each in commands)
    of_actions = "\n".join(
        f'        "{each.name} {action}") options="{" ".join(_names(own))}" ;;'
        for each in commands
        for action, own in each.actions.items()
    )
    words = "\n".join(f'        {each.name}) words="{" ".join(each.words)}" ;;' for each in commands if each.words)
    values = "\n".join(
        f'        "{each.name} {option}") words="{" ".join(choices)}"; only=1 ;;'
        for each in commands
        for option, choices in each.choices.items()
    )
    return f"""# bash completion of perceptio
_perceptio() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD - 1]}}" options="" words="" only=""
    COMPREPLY=()
    if (( COMP_CWORD == 1 )); then
        COMPREPLY=( $(compgen -W "{" ".join(each.name for each in commands)} --help --version" -- "$word") )
        return
    fi
    case "${{COMP_WORDS[1]}}" in
{options}
    esac
    case "${{COMP_WORDS[1]}} ${{COMP_WORDS[2]}}" in
{of_actions}
    esac
    case "${{COMP_WORDS[1]}}" in
{words}
    esac
    case "${{COMP_WORDS[1]}} $before" in
{values}
    esac
    if [[ $word == -* && -z $only ]]; then
        COMPREPLY=( $(compgen -W "$options" -- "$word") )
    elif [[ -n $only || ( -n $word && $before != -* ) || $before == "${{COMP_WORDS[1]}}" ]]; then
        COMPREPLY=( $(compgen -W "$words" -- "$word") )
    fi
}}
complete -o bashdefault -o default -F _perceptio perceptio"""


def _zsh(commands: Sequence[_Command]) -> str:
    described = " ".join(_quoted(f"{each.name}:{each.what}") for each in commands)
    options = "\n".join(f"    {each.name}) options=({_described(each.options)}) ;;" for each in commands)
    of_actions = "\n".join(
        f"    '{each.name} {action}') options=({_described(own)}) ;;"
        for each in commands
        for action, own in each.actions.items()
    )
    words = "\n".join(f"    {each.name}) compadd -- {' '.join(each.words)} ;;" for each in commands if each.words)
    values = "\n".join(
        f"    '{each.name} {option}') compadd -- {' '.join(choices)}; return ;;"
        for each in commands
        for option, choices in each.choices.items()
    )
    return f"""#compdef perceptio
_perceptio() {{
  local -a commands options
  commands=({described})
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  case $words[2] in
{options}
  esac
  case "$words[2] $words[3]" in
{of_actions}
  esac
  case "$words[2] $words[CURRENT-1]" in
{values}
  esac
  if [[ $words[CURRENT] == -* ]]; then _describe option options; return; fi
  case $words[2] in
{words}
  esac
  _files
}}
if [[ $funcstack[1] == _perceptio ]]; then _perceptio "$@"; else compdef _perceptio perceptio; fi"""


def _fish(commands: Sequence[_Command]) -> str:
    lines = ["# fish completion of perceptio"]
    lines += [
        f"complete -c perceptio -n __fish_use_subcommand -f -a {each.name} -d {_quoted(each.what)}" for each in commands
    ]
    for each in commands:
        seen = f"__fish_seen_subcommand_from {each.name}"
        if each.words:
            lines.append(f"complete -c perceptio -n '{seen}' -a {_quoted(' '.join(each.words))}")
        none = f"; and not __fish_seen_subcommand_from {' '.join(each.actions)}" if each.actions else ""
        lines += _fish_options(seen + none, each.options, each.choices)
        for action, own in each.actions.items():
            lines += _fish_options(f"{seen}; and __fish_seen_subcommand_from {action}", own, each.choices)
    return "\n".join(lines)


def _fish_options(seen: str, options: Sequence[Option], choices: Mapping[str, Sequence[str]]) -> list[str]:
    lines = []
    for option in options:
        if option.is_positional:
            continue
        value = f" -x -a {_quoted(' '.join(choices[option.name]))}" if option.name in choices else " -r"
        value = "" if num_words(option.hint) == 0 else value
        lines.append(f"complete -c perceptio -n '{seen}' -l {option.name[2:]}{value} -d {_quoted(option.summary)}")
    return lines


def _described(options: Sequence[Option]) -> str:
    return " ".join(_quoted(f"{option.name}:{option.summary}") for option in options if not option.is_positional)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "'\\''") + "'"
