"""Chromium, and servers of small models for it to look at."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.support.models import write_small_bundle
from tests.support.served import bundle_of, serving

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def browser():
    """Start the system's Chromium."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    assert program, f"these tests need one of {', '.join(NAMES)} (apt-get install chromium)"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=[*ARGUMENTS])
        yield chromium
        chromium.close()


class Watched:
    """A page, with whatever went wrong on it and whatever it asked of other hosts."""

    def __init__(self, browser, address, **options):
        self.address = address
        self.mistakes: list[str] = []
        self.foreign: list[str] = []
        self.context = browser.new_context(accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("pageerror", lambda error: self.mistakes.append(str(error)))
        self.page.on("console", self._heard)
        self.page.on("request", self._asked)

    def _heard(self, message):
        # Chromium reports every refused request; refusals are looked at by the tests.
        if message.type in ("error", "warning") and "status of 4" not in message.text:
            self.mistakes.append(message.text)

    def _asked(self, request):
        if not request.url.startswith((self.address, "blob:", "data:")):
            self.foreign.append(request.url)

    def open(self, path="/"):
        self.page.goto(self.address + path)
        return self.page


@pytest.fixture
def watch(browser):
    """Return what opens watched pages; in the end none may have gone wrong or asked elsewhere."""
    opened = []

    def start(address, **options):
        opened.append(Watched(browser, address, **options))
        return opened[-1]

    yield start
    for watched in opened:
        watched.context.close()
    assert [found for watched in opened for found in watched.mistakes] == []
    assert [found for watched in opened for found in watched.foreign] == []


@pytest.fixture(scope="session")
def bundles(tmp_path_factory) -> Path:
    """Write bundles of three classes, of two, of a regression, and of columns of every type."""
    folder = tmp_path_factory.mktemp("bundles")
    bundle_of("wine.yaml", "random_forest", folder / "wine", {"n_estimators": 20})
    bundle_of("breast_cancer.yaml", "decision_tree", folder / "cancer", {"max_depth": 3})
    bundle_of("diabetes.yaml", "ridge", folder / "diabetes", {})
    write_small_bundle(folder / "boats")
    return folder


@pytest.fixture(scope="session")
def wine(bundles, tmp_path_factory):
    """Serve the wine model."""
    with serving(bundles / "wine", tmp_path_factory.mktemp("wine")) as address:
        yield address
