"""Thin ZenML steps: unpack, call the core, return."""
