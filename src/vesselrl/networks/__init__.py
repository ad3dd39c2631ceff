"""What the reward network and our own segmenter have in common: architecture, input, training."""
