"""What the drift checks catch, how often they err, what policies do in a stream, what it costs.

    python benchmarks/drift.py [--quick] [--only windows,stream,speed] [--jobs 2]
                               [--minutes 60] [--write docs/monitoring.md]

*windows*: the scenarios of `drift_data.py`; each repetition has a reference, a model and a window
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
from scipy.stats import binomtest
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
    (5000, 35): "35 numbers and 5 categories, reference of 5,000 rows",
}
SIZES = (100, 500, 2000, 5000)
GOALS = {  # by rows of `SIZES`: at most for none, at least for the rest
    "none": (0.03, 0.02, 0.02, 0.02),
    "mean_0.5_1": (0.75, 0.99, 1.0, 1.0),
    "mean_0.25_5": (0.45, 0.99, 1.0, 1.0),
    "var1.5_1": (0.15, 0.97, 1.0, 1.0),
    "newcat_0.05": (0.99, 1.0, 1.0, 1.0),
    "corr": (0.97, 1.0, 1.0, 1.0),
    "concept": (0.99, 1.0, 1.0, 1.0),
    "concept_mild": (0.10, 0.55, 0.98, 0.98),
}
NARROW_GOALS = ("none", "mean_0.5_1", "corr")  # whatever the number of columns
LESSER = 2  # how many times more false alarms a reference of 1,000 rows may give


def fired(verdict: WindowVerdict) -> set[str]:
    """Return the families and tests that alarm."""
    names = {found.name for found in verdict.multivariate if found.alarm}
    return (
        names | (set(verdict.families) - {"multivariate"}) | ({"any"} if verdict.alarm else set())
    )


def repeat(
    seed: int, reference_rows: int, numbers: int, plan: dict[str, tuple[int, ...]]
) -> list[tuple[str, int, set[str]]]:
    """Return what fires in one window of each scenario and size, beside one new reference.

    One, since windows beside the same reference are no independent repetitions: where chance made
    it odd, they alarm together.
    """
    rng = np.random.default_rng([seed, reference_rows, numbers])
    table = draw(rng, reference_rows, numbers=numbers)
    model = Model(table)
    profile = reference(table, model, draw(rng, reference_rows // 4, numbers=numbers))
    counter = WindowCounter(profile)
    found = []
    for scenario, sizes in plan.items():
        for rows in sizes:
            window = counter.count([batch(draw(rng, rows, scenario, numbers), model)])
            names = fired(judge_window(profile, window, CONFIG))
            found.append((scenario, rows, names))
    return found


def plans(seed: int, repetitions: int) -> list[tuple[int, int, dict[str, tuple[int, ...]]]]:
    """Return what one seed measures: reference rows, number columns, scenarios with window sizes.

    Beyond the repetitions only windows without a change follow: false alarms are what is rare.
    What has no goal is measured by every fifth seed.
    """
    quiet = {"none": SIZES}
    if seed >= repetitions:
        return [(*setting, quiet) for setting in TITLES]
    chosen = {setting: dict(quiet) for setting in TITLES}
    chosen[5000, 30] = dict.fromkeys(GOALS, SIZES)
    for numbers in (8, 35):
        chosen[5000, numbers] |= dict.fromkeys(NARROW_GOALS[1:], SIZES[:2])
    if seed % 5 == 0:
        rest = [name for name in SCENARIOS if name not in GOALS]
        chosen[5000, 30] |= dict.fromkeys(rest, SIZES[:3])
    return [(*setting, plan) for setting, plan in chosen.items()]


def measured(
    seed: int, repetitions: int, only: tuple[str, ...]
) -> list[tuple[tuple[int, int, str, int], set[str]]]:
    """Return what fired, by setting, scenario and window size."""
    found = []
    with threadpool_limits(1):
        for rows, numbers, whole in plans(seed, repetitions):
            plan = {name: sizes for name, sizes in whole.items() if not only or name in only}
            if not plan:
                continue
            windows = repeat(seed, rows, numbers, plan)
            found += [((rows, numbers, name, size), fires) for name, size, fires in windows]
    return found


def windows_table(
    repetitions: int,
    quiet: int,
    jobs: int,
    minutes: float,
    log: Path | None,
    only: tuple[str, ...] = (),
) -> str:
    """Return the tables of false alarms and power; a log goes on where it ended."""
    tally, done = logged(log)
    end = time.monotonic() + 60 * minutes
    with ProcessPoolExecutor(jobs) as pool:
        seeds = [seed for seed in range(max(repetitions, quiet)) if seed not in done]
        asked = {pool.submit(measured, seed, repetitions, only): seed for seed in seeds}
        for future in as_completed(asked):
            done.add(asked[future])
            for place, names in future.result():
                tally[place]["times"] += 1
                for name in names:
                    tally[place][name] += 1
            if log is not None:
                counts = [[*place, dict(hits)] for place, hits in tally.items()]
                log.write_text(json.dumps({"seeds": sorted(done), "counts": counts}), "utf-8")
            if time.monotonic() > end:
                print(f"stopped after {len(done)} references", file=sys.stderr)
                pool.shutdown(cancel_futures=True)
                break
    return shown(tally)


def logged(log: Path | None) -> tuple[dict[tuple, dict[str, int]], set[int]]:
    """Return the counts of a run that was cut short, and its seeds."""
    tally: dict[tuple, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    if log is None or not log.exists():
        return tally, set()
    kept = json.loads(log.read_text("utf-8"))
    for *place, hits in kept["counts"]:
        tally[tuple(place)].update(hits)
    return tally, set(kept["seeds"])


def shown(tally: dict[tuple, dict[str, int]]) -> str:
    """Return counts as Markdown."""
    parts = []
    for setting, title in TITLES.items():
        chosen = [(k[2:], v) for k, v in tally.items() if k[:2] == setting]
        if not chosen:
            continue
        parts.append(f"**{title}**\n")
        head = ["scenario", "rows", "repetitions", "alarm", "95 % interval", "asked for", *FAMILIES]
        parts.append(f"| {' | '.join(head)} |\n| --- |{' ---: |' * (len(head) - 1)}")
        chosen.sort(key=lambda item: (SCENARIOS.index(item[0][0]), item[0][1]))
        parts += [_line(setting, *place, hits) for place, hits in chosen]
        parts.append("")
    return "\n".join(parts)


def goal(setting: tuple[int, int], scenario: str, rows: int) -> float | None:
    """Return what is asked for: the greatest share of false alarms, or the least power."""
    if scenario not in GOALS or (setting[1] != 30 and scenario not in NARROW_GOALS):
        return None
    asked = GOALS[scenario][SIZES.index(rows)]
    if setting[0] == 5000:
        return asked
    return LESSER * asked if scenario == "none" else None


def _line(setting: tuple[int, int], scenario: str, rows: int, hits: dict[str, int]) -> str:
    times, alarms = hits["times"], hits.get("any", 0)
    asked = goal(setting, scenario, rows)
    sign = "≤" if scenario == "none" else "≥"
    low, high = binomtest(alarms, times).proportion_ci(method="wilson")
    cells = [
        scenario,
        f"{rows:,}",
        str(times),
        f"**{alarms / times:.3f}**",
        f"{low:.3f} to {high:.3f}",
        "" if asked is None else f"{sign} {asked:g}",
        *(f"{hits.get(name, 0) / times:.3f}" for name in FAMILIES),
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
    parser.add_argument("--quiet", type=int, default=1000, help="references for false alarms")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--minutes", type=float, default=600.0, help="stop windows or streams then")
    parser.add_argument("--scenarios", default="", help="of the windows; default: all")
    parser.add_argument("--write", type=Path, default=None)
    parser.add_argument(
        "--log", type=Path, default=None, help="counts so far, as JSON; goes on from them"
    )
    parser.add_argument("--evidently", action="store_true", help="run Evidently, too (minutes)")
    given = parser.parse_args()
    scenarios = tuple(given.scenarios.split(",")) if given.scenarios else ()
    times = given.repetitions or (20 if given.quick else 300)
    quiet = times if given.quick else given.quiet
    jobs = {
        "windows": lambda: windows_table(
            times, quiet, given.jobs, given.minutes, given.log, scenarios
        ),
        "stream": lambda: stream_table(
            given.repetitions or (2 if given.quick else 16), given.jobs, given.minutes, given.log
        ),
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
