"""What every command shares: exit codes, one sentence on stderr, groups that name the nearest command."""

from __future__ import annotations

import click

DONE, FINDING, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


class Group(click.Group):
    """A command group that names the nearest command for an unknown one."""

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
    """One sentence on stderr."""
    click.echo(f"arsbench: {sentence}", err=True)
