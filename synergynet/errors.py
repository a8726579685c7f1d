"""Problems that the user can solve, and how every command reports them."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

DEBUG = "SYNERGYNET_DEBUG"  # in the environment: bugs keep their traceback


class InputError(Exception):
    """A problem that the user can solve; its text is one line naming the file and the remedy."""


class FormatError(InputError):
    """A picture that its format cannot hold; another one may go."""


def one_line(error: BaseException) -> str:
    """What an error says in one line: errors of the operating system without their number."""
    message = str(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        message = f"{where}{error.strerror or error}"
    return " ".join(message.split()) or type(error).__name__


def add_debug(parser: argparse.ArgumentParser) -> None:
    """The flag that `run_command` reads."""
    parser.add_argument("--debug", action="store_true", help="show where a bug happened")


def run_command(main: Callable[[Any], int], args: Any) -> int:
    """Run a script's `main(args)`; turn the user's errors into one line on stderr and exit code 2.

    Errors of the operating system (read-only folder, full disk) count as the user's. Anything else
    is a bug: one line too, or with --debug, or SYNERGYNET_DEBUG set, its traceback.
    """
    try:
        return main(args)
    except (InputError, OSError) as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:  # main may say what to do next
        print(": ".join(["stopped", *map(str, stop.args)]), file=sys.stderr)
        return 130
    except MemoryError as error:
        print(f"error: not enough memory ({one_line(error)})", file=sys.stderr)
        return 2
    except Exception as error:
        if os.environ.get(DEBUG) or (hasattr(args, "debug") and args.debug):
            raise
        bug = f"{type(error).__name__}: {one_line(error)}"
        print(f"error: {bug} (a bug; --debug shows where)", file=sys.stderr)
        return 2


# of flags that count or seed: what libraries below can take, and more than anybody needs
MOST = {"--seed": 2**63 - 1, "--batch-size": 2**20, "--workers": 1024, "--count": 10**9}
MOST |= {"--focal": 10**6}


def require_at_least(args: Any, least: Mapping[str, float]) -> None:
    """Refuse numbers that are too small, or beyond MOST, before anything is read.

    Args:
        args: parsed arguments; flags that it lacks, or that were not given, are passed over.
        least: smallest value by flag, for instance {"--workers": 0}.
    Raises:
        InputError: names the flag.
    """
    for flag, smallest in least.items():
        value = getattr(args, flag.removeprefix("--").replace("-", "_"), smallest)
        if value is None:
            continue
        if not value >= smallest:  # nor is nan
            raise InputError(f"{flag} {value}: must be at least {smallest}")
        if value > MOST.get(flag, math.inf):
            raise InputError(f"{flag} {value}: must be at most {MOST[flag]}")
