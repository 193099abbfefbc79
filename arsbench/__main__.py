"""``python -m arsbench`` is the command ``arsbench``."""

from arsbench.cli import main

main()
