"""Longitudinal measurement of intervertebral discs from Dixon MR.

The package is layered; imports go one way only (see docs/architecture.md and tests/test_architecture.py).
"""

__version__ = "0.1.0"
