"""Keep what runs of the course measured in docs/results.json: python -m tools.results RUN_FOLDER…

A measurement is known by lecture, profile, seed and device; a newer one takes the place of an older one. `make readme`
and `coursekit site` make their tables from the file.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from coursekit.errors import CourseError
from coursekit.files import write_text

RESULTS = Path(__file__).parents[1] / "docs" / "results.json"
KNOWN_BY = ("lecture", "profile", "seed", "device")
JUDGED = ("ok", "claim failed")  # a run that ended otherwise measured nothing


def load(path: Path = RESULTS) -> list[dict[str, Any]]:
    """The measurements kept, by lecture; none if the file does not exist yet."""
    return json.loads(path.read_text(encoding="utf-8"))["runs"] if path.exists() else []


def measured(folder: Path) -> list[dict[str, Any]]:
    """What the run in a folder measured: an entry for every notebook that was executed to its end.

    Raises:
        CourseError: the folder holds no run.
    """
    try:
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        return [
            {
                "lecture": entry["name"],
                "profile": entry["setup"]["profile"],
                "seed": entry["setup"]["seed"],
                "device": entry["setup"]["device"],
                "threads": entry["setup"]["threads"],
                "date": run["started"][:10],
                "cpu_seconds": round(entry["cpu_seconds"]),
                "peak_megabytes": round(entry["peak_bytes"] / 1e6),
                "versions": entry["setup"]["versions"],
                "checks": len(entry["checks"]),
                "claims": entry["claims"],
            }
            for entry in run["notebooks"]
            if entry["status"] in JUDGED
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CourseError(f"{folder} holds no run of this version of coursekit: {error!r}.") from error


def merge(kept: Iterable[dict[str, Any]], new: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Old and new measurements, by lecture; where both know one thing, the new one."""
    runs = {tuple(entry[name] for name in KNOWN_BY): entry for entry in [*kept, *new]}
    return [runs[key] for key in sorted(runs)]


if __name__ == "__main__":
    found = [entry for folder in sys.argv[1:] for entry in measured(Path(folder))]
    write_text(RESULTS, json.dumps({"runs": merge(load(), found)}, indent=1, ensure_ascii=False) + "\n")
    print(f"{len(found)} measurements are in {RESULTS.name} now.")
