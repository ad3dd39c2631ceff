"""RL on the weights of a segmenter: every pixel of its map is a decision of the policy.

To be read in this order: `objective` (the mathematics), `reward_maps` (what is paid), `ppo` (of our
own segmenter) and `adapters` (of a Sa2VA model), `guard`, `training` and `seeds`.
"""
