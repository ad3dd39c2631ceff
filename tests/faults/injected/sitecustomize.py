"""What each Python of a fault test imports first: clocks that lie, and one fault."""

import errno
import fnmatch
import json
import os
import signal
import sys
import threading
import time

# Seconds that were measured are in many files, which could not be compared byte for byte.
time.perf_counter = lambda: 0.0


def _set_clock(start, speed):
    """Let the clock show ``start``, in seconds since 1970, and go on at ``speed``."""
    real, began = time.time, time.time()

    def now():
        return start + speed * (real() - began)

    def at(function):
        return lambda seconds=None: function(now() if seconds is None else seconds)

    time.time, time.time_ns = now, lambda: int(now() * 1e9)
    time.localtime, time.gmtime, time.ctime = map(at, (time.localtime, time.gmtime, time.ctime))
    written = time.strftime
    time.strftime = lambda form, when=None: written(form, when or time.localtime())


_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


class _Fault:
    """Acts at the n-th time that a file of one folder is about to be changed.

    Args:
        folder: below which changes count.
        files: a pattern of their paths, relative to the folder.
        change: which kind: ``write``, ``replace`` (by another file), ``remove``, or ``*``.
        count: the n-th acts.
        then: ``kill``, ``interrupt``, or ``fill``: from then on no file there can be written.
        later: seconds after that change.
        log: a file that every change is noted in, instead of all that.
    """

    def __init__(self, folder, files="*", change="*", count=1, then="kill", later=0.0, log=None):
        self._folder, self._files, self._change = folder, files, change
        self._left, self._then, self._later = count, then, later
        self._log = log
        self._is_full = False

    def __call__(self, event, arguments):
        if event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES:
            self._changes("write", arguments[0])
        elif event == "os.rename":
            self._changes("replace", arguments[1])
        elif event in ("os.remove", "os.rmdir"):
            self._changes("remove", arguments[0])

    def _changes(self, change, path):
        if isinstance(path, int):  # of a file that is open already
            return
        name = os.path.relpath(os.fsdecode(path), self._folder)
        if name.startswith(("..", "logs/")):
            return
        if self._log:
            with open(self._log, "a") as stream:  # noqa: PTH123 - below another folder
                stream.write(f"{change} {name}\n")
            return
        if fnmatch.fnmatch(name, self._files) and fnmatch.fnmatch(change, self._change):
            self._left -= 1
            if self._left == 0 and self._later:
                threading.Timer(self._later, self._act).start()
            elif self._left == 0:
                self._act()
        if self._is_full and change == "write":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _act(self):
        if self._then == "fill":
            self._is_full = True
        else:
            os.kill(os.getpid(), signal.SIGKILL if self._then == "kill" else signal.SIGINT)


if clock := json.loads(os.environ.get("VESSELRL_CLOCK", "null")):
    _set_clock(**clock)
if fault := json.loads(os.environ.get("VESSELRL_FAULT", "null")):
    sys.addaudithook(_Fault(**fault))
