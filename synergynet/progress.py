"""One line on the terminal about work that takes long; nothing where nobody watches."""

from __future__ import annotations

import sys
import time
from types import TracebackType

REFRESH_S = 0.2


class Progress:
    """Counts items on stderr, when that is a terminal.

    Args:
        total: items to come; None when nobody knows.
        unit: what one is called.
        title: what stands in front.
        is_quiet: show nothing in any case.
    """

    def __init__(
        self, total: int | None, unit: str, title: str = "", is_quiet: bool = False
    ) -> None:
        self.total, self.unit, self.title = total, unit, title
        self.count = 0
        self._start = self._shown = time.monotonic()
        self._is_visible = not is_quiet and sys.stderr.isatty()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._clear()

    def update(self) -> None:
        """Count one more."""
        self.count += 1
        now = time.monotonic()
        if self._is_visible and now - self._shown > REFRESH_S:
            self._shown = now
            self._clear()
            sys.stderr.write(self._line(now - self._start))
            sys.stderr.flush()

    def note(self, line: str) -> None:
        """Print a line that stays, above the count."""
        self._clear()
        print(line, file=sys.stderr)

    def _line(self, seconds: float) -> str:
        rate = self.count / max(seconds, 1e-9)
        head = f"{self.title}: " if self.title else ""
        if self.total is None:
            return f"{head}{self.count} {self.unit}s, {rate:.1f}/s"
        left = max(self.total - self.count, 0) / rate
        minutes, seconds_left = divmod(round(left), 60)
        share = f"{self.count}/{self.total} {self.unit}s"
        return f"{head}{share}, {rate:.1f}/s, {minutes}:{seconds_left:02d} left"

    def _clear(self) -> None:
        if self._is_visible:
            sys.stderr.write("\r\x1b[2K")
