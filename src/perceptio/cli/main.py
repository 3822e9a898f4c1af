"""`perceptio COMMAND ..`: finds the command, runs it, turns errors into one message and an exit code.

Nothing here or at the top of a command's module imports torch: help must not wait for it.
"""

import importlib
import io
import os
import signal
import sys
import time
import traceback
from types import ModuleType

from perceptio.errors import PerceptioError, SharedError, nearest
from perceptio.version import __version__

COMMANDS = {
    "train": "train a model on a folder of files, or by a recipe",
    "evaluate": "measure a trained model on labelled files",
    "predict": "label files with a trained model",
    "attend": "draw what a trained model attends to",
    "data": "pack samples into tar shards, or check a data set",
    "recipes": "list the recipes",
    "info": "show what a folder of data, a recipe or a run holds; compare two runs",
    "completion": "print the completion of commands and options for a shell",
}

HELP = """perceptio: the Perceiver, learning from files

usage: perceptio COMMAND ..

{commands}

examples:
  perceptio train --data photos/                   one sub-folder a class is all it takes
  perceptio predict runs/photos-001 new/*.jpg
  perceptio attend runs/photos-001 new/cat.jpg

perceptio COMMAND --help says more, -H shows every option; --version prints the
version; --debug shows the traceback of an error.
exit codes: 0 done, 1 failed, 2 wrong usage, 3 some inputs failed,
  4 data unusable, 130 interrupted, 143 ended by SIGTERM
"""

FOLLOWER_SECONDS = 2.0


def run() -> None:
    """The console command."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Runs one command line and returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files and classes may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    try:
        return _dispatch(arguments)
    except PerceptioError as error:
        if debug:
            traceback.print_exc()
        if isinstance(error, SharedError) and is_follower():
            # The first process says it. A launcher that sees one process end soon ends the others: let it speak.
            time.sleep(FOLLOWER_SECONDS)
        else:
            print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader of our output, such as `head`, has seen enough. Keep Python from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        # A disk that is full or read-only, a folder without permission: nothing that a traceback would help with.
        if debug:
            raise
        place = f": {error.filename}" if error.filename else ""
        print(f"error: {error.strerror or error}{place}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interruption:
        print("\ninterrupted", file=sys.stderr)
        return 128 + (interruption.args[0] if interruption.args else signal.SIGINT)  # SIGTERM may be the reason, too
    except Exception as error:
        # A mistake of ours, or of the machine. It gets its line, as the others do.
        if debug:
            traceback.print_exc()
        message = " ".join(str(error).split())
        print(f"error: unexpected: {type(error).__name__}: {message}; --debug shows where", file=sys.stderr)
        return 1


def is_follower() -> bool:
    """Returns whether this is another than the first process that `torchrun` or `accelerate launch` started."""
    return os.environ.get("RANK", "0") != "0"


def _dispatch(arguments: list[str]) -> int:
    if arguments[:1] == ["help"]:  # what people type who come from git and the like
        arguments = [*arguments[1:2], "--help"]
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        lines = (f"  {name:<{width}}  {what}" for name, what in COMMANDS.items())
        print(HELP.format(commands="\n".join(lines)), end="")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"perceptio {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print(f"error: unknown command {name!r}.{nearest(name, COMMANDS)}", file=sys.stderr)
        return 2
    module: ModuleType = importlib.import_module(f"perceptio.cli.{name}")
    if "-h" in rest or "--help" in rest:
        print(module.HELP, end="")
        return 0
    if "-H" in rest:
        from perceptio.cli.arguments import full_help

        rest.remove("-H")
        print(f"{module.HELP}\nall options:\n{full_help(module.options(rest))}", end="")
        return 0
    code: int = module.main(rest)
    return code
