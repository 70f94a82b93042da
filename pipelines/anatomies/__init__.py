"""Anatomies that are not our shape model's: real ones out of masks of the SPIDER data set, for training and benchmarks.

Knows nothing of networks.
"""
