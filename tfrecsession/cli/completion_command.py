"""The command `completion`: a script with which bash and zsh complete commands, options, models and choices."""

from __future__ import annotations

from tfrecsession.cli.output import write_json

SCRIPT = """\
# bash, in ~/.bashrc: eval "$(tfrecsession completion)"
# zsh, in ~/.zshrc: autoload -Uz compinit bashcompinit && compinit && bashcompinit && eval "$(tfrecsession completion)"
_tfrecsession() {
    local word="${COMP_WORDS[COMP_CWORD]}" command="${COMP_WORDS[1]}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then command=""; fi
    case "$command ${COMP_WORDS[COMP_CWORD-1]} $word" in
CASES
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _tfrecsession tfrecsession
"""  # the first case that fits; without one, files and folders


def completion_command(commands, common):
    command = commands.add_parser(
        "completion",
        parents=[common],
        help="print a script that completes commands and options in bash and zsh",
        description="Print a script that completes commands, options, models and choices in bash and zsh: "
        'eval "$(tfrecsession completion)".',
    )
    command.set_defaults(run=lambda options: completion(commands.choices, options.json))


def completion(commands, json: str | None) -> None:
    from tfrecsession.cli.declared_models import declared_models

    models = " ".join(declared_models())
    cases = [(" *", " ".join(commands)), ("* --model *", models), ("models models *", models)]
    for name, command in commands.items():
        for action in filter(lambda action: action.choices and action.option_strings, command._actions):
            cases += [(f"{name} {option} *", " ".join(map(str, action.choices))) for option in action.option_strings]
    for name, command in commands.items():
        cases.append((f"{name} * -*", " ".join(option for each in command._actions for option in each.option_strings)))
    lines = [f'        {pattern.replace(" ", chr(92) + " ")}) words="{words}" ;;' for pattern, words in cases]
    script = SCRIPT.replace("CASES", "\n".join(lines))
    if json != "-":
        print(script, end="")
    write_json({"script": script}, json)


COMMANDS = [completion_command]
