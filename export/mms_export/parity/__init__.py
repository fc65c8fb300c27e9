"""Parity of a bundle's graphs with the reference network, measured on real speech."""

from mms_export.parity.comparison import MIN_AGREEMENT, SPEECH

__all__ = ["MIN_AGREEMENT", "SPEECH"]
