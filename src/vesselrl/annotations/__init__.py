"""Annotations: reading entries, polygons ↔ masks, images, groups and splits."""
