"""Reinforcement learning of which prompt and which post-processing an image deserves.

To be read in this order: `actions` and `operations` (what may be chosen), `observations` (what is
seen), `outcomes` (where it leads, looked up), `environments` (in `reference` the same with the
segmenter in the loop), `ppo`, `guard` and `training`, `policy` (what is deployed). In `pixel`
segmenters' own weights are learnt.
"""
