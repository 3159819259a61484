"""What the drift checks catch, how often they err, what policies do in a stream, what it costs.

    python benchmarks/drift.py [--quick] [--only windows,stream,speed] [--jobs 2]
                               [--minutes 60] [--write docs/monitoring.md]

*windows*: the scenarios of `drift_data.py`; each repetition has a reference, a model and windows
of its own. *stream*: 200 windows, the change at window 100. *speed*: one window of a million rows,
with --evidently beside its preset. Prints Markdown; --write puts it between the markers of a page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from drift_data import SCENARIOS, Model, batch, draw, reference
from drift_speed import speed_table
from drift_stream import stream_table

from evergreen.monitoring.judge import judge_window
from evergreen.monitoring.settings import MonitoringConfig
from evergreen.monitoring.verdict import WindowVerdict
from evergreen.monitoring.window import WindowCounter

CONFIG = MonitoringConfig()
FAMILIES = (
    "columns",
    "means",
    "correlation",
    "reconstruction",
    "classifier",
    "predictions",
    "performance",
)
TITLES = {
    (5000, 30): "30 numbers and 5 categories, reference of 5,000 rows",
    (1000, 30): "the same, reference of 1,000 rows",
    (5000, 8): "8 numbers and 5 categories, reference of 5,000 rows",
}
QUIET = 4  # windows without a change beside each reference: false alarms are what is rare
GOALS = {  # drift.md's operating points, by rows: at most for none, at least for the rest
    "none": {100: 0.03, 500: 0.02, 2000: 0.02},
    "mean_0.5_1": {100: 0.75, 500: 0.99, 2000: 1.0},
    "mean_0.25_5": {100: 0.45, 500: 0.99, 2000: 1.0},
    "var1.5_1": {100: 0.15, 500: 0.97, 2000: 1.0},
    "newcat_0.05": {100: 0.99, 500: 1.0, 2000: 1.0},
    "corr": {100: 0.97, 500: 1.0, 2000: 1.0},
    "concept": {100: 0.99, 500: 1.0, 2000: 1.0},
    "concept_mild": {100: 0.10, 500: 0.55, 2000: 0.98},
}


def fired(verdict: WindowVerdict) -> set[str]:
    """Return the families and tests that alarm."""
    names = {found.name for found in verdict.multivariate if found.alarm}
    return (
        names | (set(verdict.families) - {"multivariate"}) | ({"any"} if verdict.alarm else set())
    )


def repeat(
    seed: int, reference_rows: int, numbers: int, plan: dict[str, tuple[int, ...]]
) -> list[tuple[str, int, set[str]]]:
    """Return what fires in windows of each scenario and size, beside one new reference."""
    rng = np.random.default_rng([seed, reference_rows, numbers])
    table = draw(rng, reference_rows, numbers=numbers)
    model = Model(table)
    profile = reference(table, model, draw(rng, max(500, reference_rows // 4), numbers=numbers))
    counter = WindowCounter(profile)
    found = []
    for scenario, sizes in plan.items():
        for rows in sizes * (QUIET if scenario == "none" else 1):
            window = counter.count([batch(draw(rng, rows, scenario, numbers), model)])
            names = fired(judge_window(profile, window, CONFIG))
            found.append((scenario, rows, names))
    return found


def plans(seed: int) -> list[tuple[int, int, dict[str, tuple[int, ...]]]]:
    """Return what one seed measures: reference rows, number columns, scenarios with window sizes.

    What has a goal is measured by every seed, the rest by some.
    """
    sizes: tuple[int, ...] = (100, 500, 2000)
    chosen = [(5000, 30, dict.fromkeys(GOALS, sizes))]
    if seed % 3 == 0:
        chosen.append((1000, 30, {"none": sizes}))
        chosen.append((5000, 8, dict.fromkeys(("none", "mean_0.5_1", "corr"), sizes)))
    if seed % 6 == 0:
        chosen.append((5000, 30, dict.fromkeys(GOALS, (5000,))))
        rest = [name for name in SCENARIOS if name not in GOALS]
        chosen.append((5000, 30, dict.fromkeys(rest, sizes)))
    return chosen


def measured(seed: int, only: tuple[str, ...]) -> list[tuple[tuple[int, int, str, int], set[str]]]:
    """Return what fired, by setting, scenario and window size."""
    found = []
    with threadpool_limits(1):
        for place, (rows, numbers, whole) in enumerate(plans(seed)):
            plan = {name: sizes for name, sizes in whole.items() if not only or name in only}
            if not plan:
                continue
            windows = repeat(seed + 10_000 * place, rows, numbers, plan)
            found += [((rows, numbers, name, size), fires) for name, size, fires in windows]
    return found


def windows_table(
    repetitions: int, jobs: int, minutes: float, log: Path | None, only: tuple[str, ...] = ()
) -> str:
    """Return the tables of false alarms and power."""
    tally: dict[tuple, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    end = time.monotonic() + 60 * minutes
    with ProcessPoolExecutor(jobs) as pool:
        asked = [pool.submit(measured, seed, only) for seed in range(repetitions)]
        for done, future in enumerate(as_completed(asked)):
            for place, names in future.result():
                tally[place]["times"] += 1
                for name in names:
                    tally[place][name] += 1
            if log is not None:
                log.write_text(json.dumps([[*k, dict(v)] for k, v in tally.items()]), "utf-8")
            if time.monotonic() > end:
                print(f"stopped after {done + 1} repetitions", file=sys.stderr)
                pool.shutdown(cancel_futures=True)
                break
    return shown(tally)


def shown(tally: dict[tuple, dict[str, int]]) -> str:
    """Return counts as Markdown."""
    parts = []
    for setting, title in TITLES.items():
        chosen = [(k[2:], v) for k, v in tally.items() if k[:2] == setting]
        if not chosen:
            continue
        parts.append(f"**{title}**\n")
        head = ["scenario", "rows", "repetitions", "alarm", "asked for", *FAMILIES]
        parts.append(f"| {' | '.join(head)} |\n| --- |{' ---: |' * (len(head) - 1)}")
        chosen.sort(key=lambda item: (SCENARIOS.index(item[0][0]), item[0][1]))
        parts += [_line(setting, *place, hits) for place, hits in chosen]
        parts.append("")
    return "\n".join(parts)


def _line(setting: tuple[int, int], scenario: str, rows: int, hits: dict[str, int]) -> str:
    times = hits["times"]
    goal = GOALS.get(scenario, {}).get(rows) if setting == (5000, 30) else None
    sign = "≤" if scenario == "none" else "≥"
    cells = [
        scenario,
        f"{rows:,}",
        str(times),
        f"**{hits.get('any', 0) / times:.3f}**",
        "" if goal is None else f"{sign} {goal:g}",
        *(f"{hits.get(name, 0) / times:.2f}" for name in FAMILIES),
    ]
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    """Say where and when the figures were measured."""
    return (
        f"{os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}, "
        f"{datetime.now(UTC):%Y-%m-%d}; other work on the machine."
    )


def put(page: Path, part: str, text: str) -> None:
    """Write text between the markers of a part of a page."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    content = page.read_text(encoding="utf-8")
    before, _, rest = content.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{page} lacks the markers {begin} … {end}")
    page.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", encoding="utf-8")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few repetitions")
    parser.add_argument("--only", default="windows,stream,speed")
    parser.add_argument("--repetitions", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, default=600.0, help="stop the windows then")
    parser.add_argument("--scenarios", default="", help="of the windows; default: all")
    parser.add_argument("--write", type=Path, default=None)
    parser.add_argument("--log", type=Path, default=None, help="counts so far, as JSON")
    parser.add_argument("--evidently", action="store_true", help="run Evidently, too (minutes)")
    given = parser.parse_args()
    scenarios = tuple(given.scenarios.split(",")) if given.scenarios else ()
    times = given.repetitions or (20 if given.quick else 300)
    jobs = {
        "windows": lambda: windows_table(times, given.jobs, given.minutes, given.log, scenarios),
        "stream": lambda: stream_table(given.repetitions or (2 if given.quick else 16)),
        "speed": lambda: speed_table(100_000 if given.quick else 1_000_000, given.evidently),
    }
    for name in given.only.split(","):
        started = time.perf_counter()
        text = jobs[name]()
        text += f"\n\n{time.perf_counter() - started:,.0f} s; {machine()}"
        print(f"## {name}\n\n{text}\n")
        if given.write is not None:
            put(given.write, f"drift {name}", text)


if __name__ == "__main__":
    main()
