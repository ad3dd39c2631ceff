"""Errors meant for the person who runs vesselrl."""

from collections.abc import Sequence


class VesselrlError(Exception):
    """An error told to the user in one sentence.

    The sentence says what was found, where, what was expected and what to do. The command line
    shows it instead of a traceback, which goes to the run's log file.
    """


def first_few(names: Sequence[object]) -> str:
    """The first three of many names, as a message tells them."""
    return ", ".join(map(str, names[:3])) + (", …" if len(names) > 3 else "")
