"""Evergreen keeps tabular models fresh: the core, free of any stack."""

__version__ = "0.1.0"
