"""Masks of new images: what a method needs for them, how far to trust them, how to check them."""
