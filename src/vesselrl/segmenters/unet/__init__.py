"""Our own segmenter, a U-Net: the network, how it learns, how it answers prompts."""
