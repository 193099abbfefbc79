"""The options of whoever submits something: who it is by, under which name, where it goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

from arsbench.cli.output import PATH

Command = TypeVar("Command", bound=Callable[..., object])

OPTIONS = (
    click.option("--name", required=True, help="As it will stand on the board."),
    click.option("--out", required=True, type=PATH, metavar="DIR", help="Its folder, made anew."),
    click.option("--author", "authors", multiple=True, required=True, help="Once for each author."),
    click.option("--paper", default="", help="Its title or address."),
    click.option("--code", default="", help="Where its code is public."),
    click.option("--licence", default="MIT", show_default=True, help="Of what is submitted."),
    click.option("--track", default="open", show_default=True, help="open or paper."),
    click.option("--with", "beside", multiple=True, type=PATH, help="A file that it reads beside its own."),
)


def authorship(command: Command) -> Command:
    """Gives a command :data:`OPTIONS`."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
