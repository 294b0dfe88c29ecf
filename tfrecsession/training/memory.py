"""Peak memory of a piece of work, as the operating system counts it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
from pathlib import Path

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """The growth of the process's resident memory inside a `with` block, at its peak.

        with PeakMemory() as memory:
            model.fit(data.train)
        memory.growth  # bytes, or None where the system does not report it (only Linux does)

    It is the peak inside the block minus what the process held when the block began. Memory that earlier work freed is
    first returned to the system, as far as the allocator allows; otherwise its reuse would not be counted.
    """

    growth: int | None = None

    def __enter__(self) -> PeakMemory:
        gc.collect()
        with contextlib.suppress(AttributeError, OSError, TypeError):  # a C library other than glibc
            ctypes.CDLL(None).malloc_trim(0)
        try:
            RESET.write_text("5")  # the peak starts again from what is held now, see proc(5)
        except OSError:
            self._before = None
        else:
            self._before = _kilobytes("VmRSS")
        return self

    def __exit__(self, *error) -> None:
        if self._before is not None:
            self.growth = max(_kilobytes("VmHWM") - self._before, 0) * 1024


def _kilobytes(name: str) -> int:
    (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1])
