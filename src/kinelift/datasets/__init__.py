"""Readers of motion data sets; nothing is downloaded and no pickle is ever run."""
