"""A real, headless Chromium: Debian's (apt-get install chromium chromium-driver).

with browser() as driver:
    driver.get("http://127.0.0.1:8642/")
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

FLAGS = (
    "--headless",
    "--no-sandbox",  # tests also run as root, for whom Chromium has none
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--force-color-profile=srgb",
)


def missing() -> str | None:
    """Why there is no browser here, or None where there is one."""
    absent = [name for name in ("chromium", "chromedriver") if not shutil.which(name)]
    return f"{' and '.join(absent)} not found (Debian: apt-get install chromium chromium-driver)" if absent else None


@contextmanager
def browser(width: int = 1100, height: int = 820, *, dark: bool = False, scale: float = 1) -> Iterator[Chrome]:
    """Run a browser for the time of a with-block.

    Args:
        width: Of its window, in CSS pixels.
        height: Of its window, in CSS pixels.
        dark: Whether it asks pages for dark colours.
        scale: Device pixels per CSS pixel.

    Raises:
        RuntimeError: There is none.
    """
    if reason := missing():
        raise RuntimeError(reason)
    with tempfile.TemporaryDirectory() as profile:
        options = ChromeOptions()
        options.binary_location = shutil.which("chromium") or ""
        scheme = ["--force-dark-mode"] if dark else []
        size = [f"--window-size={width},{height}", f"--force-device-scale-factor={scale:g}"]
        for flag in (*FLAGS, *size, *scheme, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = Chrome(options, ChromeService(shutil.which("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()
