"""How tests break a training off."""

from vesselrl.checkpoints import Checkpoints
from vesselrl.rl.pixel.logbook import Logbook


class Stops(Checkpoints):
    """A checkpoint during whose n-th writing the process dies, after or before it is on disk."""

    def __init__(self, folder, at, after):
        super().__init__(folder)
        self._left, self._after = at, after

    def save(self, name, fingerprint, state):
        self._left -= 1
        if self._left > 0 or self._after:
            super().save(name, fingerprint, state)
        if self._left <= 0:
            raise KeyboardInterrupt


def logbook_that_stops(at, told):
    """A logbook during whose n-th line the process dies; it notes how many looks each line told."""

    class Dies(Logbook):
        def tell(self, history):
            super().tell(history)
            told.append(len(history))
            if len(told) == at:
                raise KeyboardInterrupt

    return Dies
