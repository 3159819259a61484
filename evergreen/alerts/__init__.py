"""Telling people what needs them: alerts, their targets, and a memory of what was told."""
