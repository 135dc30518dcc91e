"""Finds a Chromium for the e2e tests, installing one where it may; run it as ``python -m tests.browser``.

Debian's package where there is one or where apt and root can bring it, else the build that Playwright
downloads. It says which it uses, and fails where neither can be had: a skipped browser test proves nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

# The background services of Chromium look for hosts that a closed network does not have.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str | None:
    """The path of a Chromium that is installed, or None."""
    system = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    return system or _playwright_build()


def require_chromium() -> str:
    """The path of a Chromium.

    Raises:
        RuntimeError: There is none.
    """
    found = find_chromium()
    if found is None:
        raise RuntimeError("No Chromium found. Run: python -m tests.browser")
    return found


def install() -> str:
    """Find Chromium or install it, and return its path."""
    if found := find_chromium():
        return found
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"],
            check=False,
            env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
            stdout=subprocess.DEVNULL,
        )
    if find_chromium() is None:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    return require_chromium()


def _playwright_build() -> str | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else None


if __name__ == "__main__":
    print(f"e2e tests use {install()}")
