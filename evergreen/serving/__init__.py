"""Serve a bundle: the contract API, its prediction log, and the registry that it follows."""
