"""Where Chromium, or a browser made of it, lies on this machine."""

import os
import shutil
from pathlib import Path

COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
PLACES = (  # where macOS and Windows put programs that no PATH leads to
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    "${PROGRAMFILES}/Google/Chrome/Application/chrome.exe",
    "${PROGRAMFILES(X86)}/Microsoft/Edge/Application/msedge.exe",
)


def find_chromium() -> str | None:
    """The path of Chromium, Chrome or Edge; None if there is none."""
    found = filter(None, map(shutil.which, COMMANDS))
    places = (os.path.expandvars(place) for place in PLACES)
    return next(found, None) or next((place for place in places if Path(place).is_file()), None)
