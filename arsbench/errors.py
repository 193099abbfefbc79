"""The one error that a user sees."""


class ArsbenchError(Exception):
    """What is wrong with an input, in one sentence: what, where, what to do. The command line exits with 2."""


class Stopped(KeyboardInterrupt):
    """The system asked the process to end: SIGTERM or SIGHUP. ``signal`` is its number."""

    def __init__(self, signal: int) -> None:
        super().__init__()
        self.signal = signal


LONGEST_MESSAGE = 200


def describe(error: BaseException) -> str:
    """An exception in one line: its type and the first line of its message, as far as it is short."""
    lines = str(error).strip().splitlines()
    if not lines:
        return type(error).__name__
    end = " ..." if len(lines[0]) > LONGEST_MESSAGE else ""
    return f"{type(error).__name__}: {lines[0][:LONGEST_MESSAGE]}{end}"
