"""Masks of others: whether what is named as discs can be discs, and which numbering a mask has."""
