"""What other versions of the dependencies changed: python -m tools.drift OLD NEW [--json]

OLD and NEW are folders of `coursekit run`, their run.json, or folders of executed notebooks, such as the committed
ones. Every claim is listed with its value then and now, and with how much of its way to the bound it has used up: 0
if it is as far from it as it was, 1 if it has come to the bound. The nearest are on top. The exit status is 1 if a
claim fails or is gone.
"""

import json
import math
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from coursekit.course.records import in_words
from coursekit.errors import CourseError
from coursekit.notebooks import files
from coursekit.notebooks.run_record import FORMAT

NUMBER = r"([-+]?[\d.]+(?:e[-+]?\d+)?)"
INSIDE: dict[str, Callable[..., float]] = {  # by the words of a bound, how far inside a value lies
    rf"≤ {NUMBER}": lambda value, limit: limit - value,
    rf"≥ {NUMBER}": lambda value, limit: value - limit,
    rf"in \[{NUMBER}, {NUMBER}\]": lambda value, low, high: min(value - low, high - value),
    rf"{NUMBER} ± {NUMBER}": lambda value, target, tolerance: tolerance - abs(value - target),
}


@dataclass(frozen=True)
class Records:
    """What executed notebooks say of themselves.

    Attributes:
        claims: by notebook and statement.
        settings: profile and seed of each notebook.
        versions: by program.
        broken: notebooks that did not end well, with their status.
    """

    claims: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    settings: dict[str, tuple[str, int]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def add(self, notebook: str, setup: dict[str, Any], claims: list[dict[str, Any]]) -> None:
        """Enter a notebook."""
        self.claims.update({(notebook, claim["statement"]): claim for claim in claims})
        if setup:
            self.settings[notebook] = (setup["profile"], setup["seed"])
            self.versions.update(setup["versions"])


@dataclass(frozen=True)
class Drift:
    """A claim then and now.

    Attributes:
        moved: the largest difference between a number then and now; None if they are not the same numbers.
        used: the part of its way to the bound, 1 at the bound; of value, controls and passes that which came nearest,
            named by ``nearest``. None where the claim has no bound, or is not in both runs.
        verdict: that of the new run, or "new" or "gone".
    """

    notebook: str
    number: int
    statement: str
    bound: str | None
    then: Any
    now: Any
    moved: float | None
    used: float | None
    nearest: str
    verdict: str


def read(path: Path) -> Records:
    """The records of a run, or of a folder of executed notebooks.

    Raises:
        CourseError: there is neither a run nor a notebook, or another version of coursekit wrote the run.
    """
    records = Records()
    file = path / "run.json" if path.is_dir() else path
    if file.is_file():
        content = json.loads(file.read_text(encoding="utf-8"))
        if content.get("format") != FORMAT:
            raise CourseError(f"{file} was written by another version of coursekit.")
        for entry in content["notebooks"]:
            records.add(entry["name"], entry["setup"], entry["claims"])
            if entry["status"] != "ok":
                records.broken[entry["name"]] = entry["status"]
    else:
        for source in sorted(path.glob("*.ipynb")):
            nb = files.read(source)
            setup: dict[str, Any] = next(iter(files.records(nb, "setup")), {})
            records.add(source.stem, setup, [asdict(claim) for claim in files.claims(nb)])
    if not records.claims and not records.broken:
        raise CourseError(f"{path} holds neither a run nor executed notebooks.")
    return records


def compare(old: Records, new: Records) -> list[Drift]:
    """Every claim of either run, those that fail or are gone first, then by how near they came to their bound.

    Raises:
        CourseError: a notebook ran with another profile or seed.
    """
    for name in old.settings.keys() & new.settings.keys():
        if old.settings[name] != new.settings[name]:
            raise CourseError(f"{name} ran with {old.settings[name]} then and {new.settings[name]} now: compare like.")
    rows = [_drift(key[0], old.claims.get(key), new.claims.get(key)) for key in {**old.claims, **new.claims}]
    return sorted(rows, key=lambda row: (row.verdict not in ("fails", "gone"), -(row.used or 0.0)))


def _drift(notebook: str, then: dict[str, Any] | None, now: dict[str, Any] | None) -> Drift:
    either = now or then
    assert either is not None
    verdict = "gone" if now is None else "new" if then is None else now["verdict"]
    used, nearest, moved = None, "", None
    if then and now:
        before, after = numbers(then["value"]), numbers(now["value"])
        if len(before) == len(after):
            moved = max((abs(a - b) for a, b in zip(before, after, strict=True)), default=None)
        used, nearest = max(_ways(then, now), default=(None, ""), key=lambda way: way[0] or 0.0)
    return Drift(
        notebook=notebook,
        number=either["number"],
        statement=either["statement"],
        bound=either["bound"],
        then=then and then["value"],
        now=now and now["value"],
        moved=moved,
        used=used,
        nearest=nearest,
        verdict=verdict,
    )


def _ways(then: dict[str, Any], now: dict[str, Any]) -> list[tuple[float, str]]:
    """How much of its way to the bound each part of a claim has used up: the value, its passes and its controls."""
    pairs = [("value", then["value"], now["value"], min)]
    pairs += [(name, then["passes"][name], it, min) for name, it in now["passes"].items() if name in then["passes"]]
    pairs += [
        (name, then["controls"][name], it, max) for name, it in now["controls"].items() if name in then["controls"]
    ]
    ways = []
    for name, before, after, worst in pairs:
        # A value is as good as the worst of its numbers; of a control one number that misses the bound is enough.
        sign = 1.0 if worst is min else -1.0
        margins = [
            [sign * inside for it in numbers(value) if (inside := margin(claim["bound"], it)) is not None]
            for claim, value in ((then, before), (now, after))
        ]
        if all(margins):
            ways.append((way(worst(margins[0]), worst(margins[1])), name))
    return ways


def margin(bound: str | None, value: float) -> float | None:
    """How far inside its bound a value lies, negative outside; None if the bound is not one of numbers.

    >>> margin("≤ 0.5", 0.3), margin("in [1, 2]", 1.75), margin("2 ± 0.5", 3.0), margin(None, 1.0)
    (0.2, 0.25, -0.5, None)
    """
    for words, inside in INSIDE.items():
        if found := re.fullmatch(words, bound or ""):
            return inside(value, *map(float, found.groups()))
    return None


def way(then: float, now: float) -> float:
    """The part of the margin ``then`` that is gone ``now``; infinite if there was none and it is worse.

    >>> way(0.4, 0.4), way(0.4, 0.2), way(0.0, 0.0), way(0.0, -0.1)
    (0.0, 0.5, 0.0, inf)
    """
    if math.isnan(now):
        return math.inf
    if then <= 0:
        return 0.0 if now >= then else math.inf
    return (then - now) / then


def numbers(value: Any) -> list[float]:
    """The numbers in a recorded value; text that stands for one, such as "nan", is read."""
    if isinstance(value, list):
        return [number for part in value for number in numbers(part)]
    if isinstance(value, str):
        return [float(value)] if value in ("nan", "inf", "-inf") else []
    return [float(value)] if isinstance(value, int | float) else []


def report(old: Records, new: Records, rows: list[Drift]) -> str:
    """The comparison as text."""
    changed = [
        f"{name} {old.versions.get(name, '–')} → {version}"
        for name, version in new.versions.items()
        if old.versions.get(name) != version
    ]
    lines = ["Versions: " + (", ".join(changed) or "the same"), ""]
    lines += [f"{name}: {status}" for name, status in new.broken.items()]
    lines += [f"{'used':>6}  {'nearest':<22} {'then':>22} {'now':>22}  claim"]
    for row in rows:
        used = "–" if row.used is None else f"{row.used:.0%}"
        then, now = (in_words(it) if it is not None else "–" for it in (row.then, row.now))
        sign = "" if row.verdict == "holds" else f"{row.verdict.upper()}: "
        bound = f" [{row.bound}]" if row.bound else ""
        lines.append(
            f"{used:>6}  {row.nearest[:22]:<22} {then[:22]:>22} {now[:22]:>22}  "
            f"{sign}{row.notebook} {row.number}. {row.statement}{bound}"
        )
    fails = sum(row.verdict in ("fails", "gone") for row in rows)
    lines += [
        "",
        f"{len(rows)} claims compared, {sum(bool(row.moved) for row in rows)} moved, {fails} fail or are gone.",
    ]
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Compare, print, and return the exit status."""
    paths = [Path(it) for it in arguments if it != "--json"]
    if len(paths) != 2:
        print(__doc__)
        return 2
    try:
        old, new = map(read, paths)
        rows = compare(old, new)
    except CourseError as error:
        print(f"drift: {error}", file=sys.stderr)
        return 2
    if "--json" in arguments:
        claims = [asdict(row) | {"used": row.used if row.used != math.inf else None} for row in rows]
        versions = {"then": old.versions, "now": new.versions}
        print(json.dumps({"versions": versions, "broken": new.broken, "claims": claims}, indent=1, ensure_ascii=False))
    else:
        print(report(old, new, rows))
    return 1 if new.broken or any(row.verdict in ("fails", "gone") for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
