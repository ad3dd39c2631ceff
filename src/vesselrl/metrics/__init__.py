"""Scores of masks, and statistics over groups of images."""
