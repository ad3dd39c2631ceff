"""Raw entries as bytes: to send to another process, and to hash."""

import marshal
from typing import Any


def pack(raw: Any) -> bytes:
    """Pack anything that JSON can hold; what is packed alike is alike.

    (``pickle`` gives up at a third of the depth to which JSON is read.)
    """
    return marshal.dumps(raw, 2)  # from version 3 on, sharing of objects shows in the bytes


def unpack(packed: bytes) -> Any:
    """What was packed by this program."""
    return marshal.loads(packed)
