"""The contract API: HTTP around a model, by its contract."""

from evergreen.serving.api.app import create_app as create_app
