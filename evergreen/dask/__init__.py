"""A Dask cluster that shares a training's work: its own on this machine, or one that is there."""
