"""Requests, read as a contract promises: strict about types, by the use case's policies."""
