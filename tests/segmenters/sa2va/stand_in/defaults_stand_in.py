"""Copied into the folder of the stand-in.

As in the published code, modules import others that the model's own module does not: transformers
finds these only because the module of the settings imports them too, and is loaded first.
"""

HEAD = 64
DEFAULTS = {
    "side": 32,
    "patch": 8,
    "width": 16,
    "depth": 1,
    "language_depth": 4,
    "mask_side": 64,
    "gives_maps": False,
    "masks_dropped": 0,
    "processes_masks": False,
}
