"""Wait until the registry has what is to be served: ``python -m evergreen.serving.wait_for_model``.

For a container that starts before the first training: an init container in Kubernetes. It takes
the options of ``python -m evergreen.serving`` and says why it waits, each time that changes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

from evergreen.errors import EvergreenError, ExitCode, InputError, UnreachableError
from evergreen.serving.options import ServerOptions
from evergreen.serving.registry_reader import locate, open_registry
from evergreen.serving.watcher import INTERVAL


def wait(options: ServerOptions, say: Callable[[str], None], interval: float = INTERVAL) -> None:
    """Return once the registry names the version that is to be served.

    A registry that does not answer is waited for as well.

    Raises
    ------
    InputError
        If the registry's address is none.
    """
    registry = open_registry(options.registry_uri)
    said = None
    while options.bundle is None:
        try:
            locate(registry, str(options.model), alias=options.alias, version=options.version)
        except (InputError, UnreachableError) as error:
            if str(error) != said:
                said = str(error)
                missing = "a model" if isinstance(error, InputError) else "the registry"
                say(f"Waiting for {missing}: {said}")
            time.sleep(interval)
        else:
            return


def main(arguments: Sequence[str] | None = None) -> int:
    """Wait and return the exit code."""
    from evergreen.serving.__main__ import read_options

    try:
        wait(read_options(arguments), lambda text: print(text, flush=True))
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except EvergreenError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return ExitCode.DONE


if __name__ == "__main__":
    raise SystemExit(main())
