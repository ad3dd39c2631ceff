"""Kedro datasets of our own: how results lie on disk."""
