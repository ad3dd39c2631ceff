"""The reward network: what a mask is worth, told without its truth.

To be read in this order: `closed_form` (the mathematics), `examples` and `batches` (what is learnt
from), `loss`, `training` and `calibration`, `network` (what is used), and whether it may be
trusted: `report_card`, `hacks`, `fitness`.
"""
