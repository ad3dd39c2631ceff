"""Scores of masks, statistics over groups, and the comparison of methods."""
