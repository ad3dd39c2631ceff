"""How tests break a training off."""

from vesselrl.checkpoints import Checkpoints


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
