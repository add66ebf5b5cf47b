"""Find Chromium, or a browser based on it, on this machine."""

import os
import shutil
from pathlib import Path

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PLACES = (  # macOS and Windows install programs here without adding them to PATH
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "${PROGRAMFILES}/Google/Chrome/Application/chrome.exe",
    "${PROGRAMFILES(X86)}/Microsoft/Edge/Application/msedge.exe",
)


def find_chromium() -> str | None:
    """The path of Chromium, Chrome or Edge; None if none is installed."""
    found = filter(None, map(shutil.which, COMMANDS))
    places = (os.path.expandvars(place) for place in PLACES)
    return next(found, None) or next((place for place in places if Path(place).is_file()), None)
