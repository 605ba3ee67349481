"""The command line: one module a command, each imported only when its command runs.

Exit codes: 0 all is well; 1 the result failed its check, or a comparison found a difference; 2 bad usage or bad input, one line on
stderr says what and what to do; 70 a bug in graphopt; 130 interrupted.
"""

from __future__ import annotations

from graphopt.cli.application import app, main

__all__ = ["app", "main"]
