"""Errors meant for the person who runs vesselrl."""


class VesselrlError(Exception):
    """An error told to the user in one sentence.

    The sentence says what was found, where, what was expected and what to do. The command line
    shows it instead of a traceback, which goes to the run's log file.
    """
