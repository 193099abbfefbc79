"""What the command line makes of the process that it runs in: streams, plots without a screen, signals."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

from arsbench.cli.output import say
from arsbench.errors import Stopped, describe
from arsbench.folders import give_matplotlib_a_folder


def prepare_process() -> None:
    """Prints what the encoding of the terminal lacks as a question mark, and draws without a screen.

    A notebook's ``MPLBACKEND`` names a module that a command started from it need not have.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")
    os.environ["MPLBACKEND"] = "agg"
    give_matplotlib_a_folder()


def say_what_threads_raise() -> None:
    """An exception that ends a thread of a method's, or that Python ignores, becomes one sentence on stderr."""
    if os.environ.get("ARSBENCH_DEBUG") == "1":
        return

    def in_a_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and args.exc_type is not SystemExit:
            say(f"a thread that a method started ended with {describe(args.exc_value)}; ARSBENCH_DEBUG=1 shows where")

    def ignored(args: sys.UnraisableHookArgs) -> None:
        if args.exc_value is not None:
            say(f"{describe(args.exc_value)} was ignored, where none can be raised; ARSBENCH_DEBUG=1 shows where")

    threading.excepthook, sys.unraisablehook = in_a_thread, ignored


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """In here SIGTERM, and SIGHUP of a terminal that is closed, raise :class:`~arsbench.errors.Stopped`.

    Those that the process ignores, as under ``nohup``, it still ignores.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is signal.SIG_DFL:
                signal.signal(number, handler)


def end_with_parent() -> None:
    """Ends this process as SIGTERM does once stdin, a pipe that its parent holds open, is closed."""
    stdin = os.dup(0)  # read without Python's lock, which would be held as the process ends

    def wait() -> None:
        while os.read(stdin, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()
