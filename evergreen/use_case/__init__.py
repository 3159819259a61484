"""Reading a use case file: one YAML file in, one `UseCase` or one message out."""

from evergreen.use_case.load import load_use_case

__all__ = ["load_use_case"]
