"""RL on the weights of our own segmenter: every pixel of its map is a decision of the policy."""
