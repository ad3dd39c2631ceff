"""Drawn coronary angiograms with exact masks."""
