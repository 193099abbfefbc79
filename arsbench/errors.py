"""The one error that a user sees."""


class ArsbenchError(Exception):
    """What is wrong with an input, in one sentence: what, where, what to do. The command line exits with 2."""
