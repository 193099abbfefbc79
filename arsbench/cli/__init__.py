"""The command line: thin commands over the Python interface, one module per group.

Exit codes: 0 done, 1 a finding (a void run, a damaged file), 2 bad usage or input.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence

import click

from arsbench.cli import checkpoints, data, inspect, reports, run, train
from arsbench.cli.output import BAD_INPUT, DONE, INTERRUPTED, Group, say


@click.group(
    cls=Group,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 110,
        "auto_envvar_prefix": "ARSBENCH",
    },
)
@click.version_option(package_name="arsbench")
def commands() -> None:
    """The robustness benchmark for adversarial face protection.

    \b
    Example:  arsbench run --protector ars --level all
    """


for command in (
    run.run,
    run.status,
    reports.table,
    reports.plot,
    inspect.list_,
    inspect.doctor,
    train.train,
    checkpoints.checkpoints,
    data.data,
):
    commands.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the ``arsbench`` command; exits."""
    sys.exit(execute_command(arguments))


def execute_command(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; what goes wrong becomes one sentence on stderr."""
    try:
        result = commands.main(args=arguments, prog_name="arsbench", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return BAD_INPUT
    except click.ClickException as error:
        say(error.format_message())
        return BAD_INPUT
    except (KeyboardInterrupt, click.Abort) as error:
        folder = getattr(error, "folder", None) or getattr(error.__cause__, "folder", None)
        say(
            f"interrupted; what was computed is in {folder}, the same command goes on from there"
            if folder
            else "interrupted"
        )
        return INTERRUPTED
    except Exception as error:
        return _ended(error)
    return result if isinstance(result, int) else DONE


def _ended(error: Exception) -> int:
    from arsbench.errors import ArsbenchError

    if os.environ.get("ARSBENCH_DEBUG") == "1":
        raise error
    if isinstance(error, BrokenPipeError):
        # The reader of a pipe has left; Python must not try to flush into it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    elif isinstance(error, ArsbenchError):
        say(str(error))
    elif isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        full = " (what was stored before is kept; the same command goes on)" if error.errno == errno.ENOSPC else ""
        say(f"cannot read or write{where}: {error.strerror or error}{full}")
    else:
        say(f"an error in arsbench itself: {type(error).__name__}: {error}; ARSBENCH_DEBUG=1 shows where")
    return BAD_INPUT
