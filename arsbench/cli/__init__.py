"""The command line: thin commands over the Python interface, one module per group.

Exit codes: 0 done, 1 a finding (a void run, a damaged file), 2 bad usage or input, 130 Ctrl-C, 143 SIGTERM, 141 where
the reader of a pipe has left.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Sequence

import click

from arsbench.cli import (
    bench,
    check,
    checkpoints,
    compare,
    data,
    faces,
    inspect,
    leaderboard,
    protect,
    reports,
    reproduce,
    run,
    site,
    train,
)
from arsbench.cli.output import BAD_INPUT, DONE, INTERRUPTED, PIPE_CLOSED, Group, PipeClosed, say
from arsbench.cli.surroundings import prepare_process, say_what_threads_raise, stopped_by_signals
from arsbench.errors import ArsbenchError, describe

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The disk is full, a quota is used up, a file has reached the largest size."""


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
    run.work,
    run.status,
    run.speed,
    bench.bench,
    protect.protect,
    reports.table,
    reports.plot,
    compare.compare_paper,
    reproduce.reproduce,
    inspect.list_,
    inspect.doctor,
    train.train,
    checkpoints.checkpoints,
    data.data,
    faces.faces,
    check.new,
    check.check,
    check.submit,
    leaderboard.leaderboard,
    site.view,
):
    commands.add_command(command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of the ``arsbench`` command; exits."""
    say_what_threads_raise()
    code = execute_command(arguments)
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except OSError as error:
        code = _ended(error)
    sys.exit(code)


def execute_command(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code; what goes wrong becomes one sentence on stderr."""
    prepare_process()
    try:
        with stopped_by_signals():
            result = commands.main(args=arguments, prog_name="arsbench", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return BAD_INPUT
    except click.ClickException as error:
        say(" ".join(error.format_message().split()))
        return BAD_INPUT
    except (KeyboardInterrupt, click.Abort) as error:
        cause = error if isinstance(error, KeyboardInterrupt) else error.__cause__
        folder, number = (getattr(cause, name, None) for name in ("folder", "signal"))
        how = "interrupted" if number is None else f"stopped by {signal.Signals(number).name}"
        say(f"{how}; what was computed is in {folder}, the same command goes on from there" if folder else how)
        return INTERRUPTED if number is None else 128 + int(number)
    except SystemExit as error:  # of a method's code, where nothing else has caught it
        say(f"a method ended the process with {describe(error)}")
        return BAD_INPUT
    except BaseException as error:  # a method's code may raise what is no Exception
        return _ended(error)
    return result if isinstance(result, int) else DONE


def _ended(error: BaseException) -> int:
    if isinstance(error, PipeClosed) or (isinstance(error, OSError) and error.errno == errno.EPIPE):
        # The reader of a pipe has left; Python must not try to flush into it.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return PIPE_CLOSED
    if os.environ.get("ARSBENCH_DEBUG") == "1":
        raise error
    if isinstance(error, ArsbenchError):
        say(str(error))
    elif isinstance(error, MemoryError):
        say("there is not enough memory; give a smaller --batch, or fewer --images")
    elif isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        full = " (what was stored before is kept; the same command goes on)" if error.errno in NO_ROOM else ""
        say(f"cannot read or write{where}: {error.strerror or error}{full}")
    else:
        say(f"an error in arsbench itself: {describe(error)}; ARSBENCH_DEBUG=1 shows where")
    return BAD_INPUT
