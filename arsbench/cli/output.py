"""What every command shares: exit codes, one sentence on stderr, groups that name the nearest command."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

DONE, FINDING, BAD_INPUT, INTERRUPTED, PIPE_CLOSED = 0, 1, 2, 130, 141


class PipeClosed(Exception):
    """The reader of the pipe that is printed into has left."""


class NamedPath(click.Path):
    """A path that is not empty: an unset variable of a script is no folder, and not the one it stands in."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path."""
        if value == "":
            self.fail("the path is empty; name a file or a folder", param, ctx)
        return super().convert(value, param, ctx)


PATH = NamedPath(path_type=Path)


class Group(click.Group):
    """A command group that names the nearest command for an unknown one."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; a pipe without a reader is told from other ways out, as click and rich do not."""
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise PipeClosed from error
            raise
        except SystemExit as error:
            if isinstance(error.__context__, BrokenPipeError):
                raise PipeClosed from error
            raise

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command that the first argument names."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            import difflib

            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(self.list_commands(ctx))}"
            raise click.UsageError(f"unknown command '{args[0]}'{hint}", ctx) from None


def say(sentence: str) -> None:
    """One sentence on stderr, on one line."""
    click.echo(f"arsbench: {on_one_line(sentence)}", err=True)


def on_one_line(text: str) -> str:
    """``text`` with line breaks and other control characters, as a file's name may hold them, written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def console() -> Console:
    """Of rich, on stdout: as wide as the terminal, and where there is none as wide as what it prints."""
    from rich.console import Console

    terminal = sys.stdout is not None and sys.stdout.isatty()
    return Console(highlight=False, width=None if terminal else 10_000)
