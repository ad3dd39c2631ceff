"""Segmenters: one small protocol, one module each, and how their answers are kept."""
