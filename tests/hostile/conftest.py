"""A child process with little memory and little time, in which hostile files are read."""

import os
import pickle
import resource
import signal
import traceback
from pathlib import Path

import pytest
from kedro.io import DatasetError

from vesselrl.annotations.entries import Refusal
from vesselrl.errors import VesselrlError

MEMORY = 2**30
SECONDS = 60
"""Ten are the aim; a busy machine takes several times as long."""
PLAIN = (VesselrlError, Refusal)


def outcome_of(read, *args):
    """What came of reading: ``read``, the sentence of a refusal, or the traceback of a crash."""
    try:
        read(*args)
    except PLAIN as refusal:
        return f"refused: {refusal}"
    except DatasetError as error:
        if isinstance(error.__cause__, PLAIN):
            return f"refused: {error.__cause__}"
        return traceback.format_exc()
    except BaseException:
        return traceback.format_exc()
    return "read"


def _within_limits(write_end, work, items):
    status = Path("/proc/self/statm").read_text().split()
    taken = int(status[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY,) * 2)
    outcomes = []
    for item in items:
        signal.alarm(SECONDS)
        outcomes.append(outcome_of(work, item))
    signal.alarm(0)
    with os.fdopen(write_end, "wb") as pipe:
        pickle.dump(outcomes, pipe)


@pytest.fixture
def outcomes():
    """Reads each of some items in a child process of at most `MEMORY` bytes more than this one.

    Returns the outcomes, see `outcome_of`. The child's death, by a limit too, fails the test.
    """

    def run(work, items):
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read_end)
            try:
                _within_limits(write_end, work, items)
            finally:
                os._exit(0)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as pipe:
            told = pipe.read()
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert told, "the child died"
        return pickle.loads(told)

    return run
