"""What a run found: one entry for each notebook, and the record of the whole run, with its form in ``run.json``."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from coursekit import __version__
from coursekit.errors import CourseError
from coursekit.notebooks import files
from coursekit.notebooks.problems import KERNEL_DIED, TIMEOUT, Problem, errors

FORMAT = 2  # of run.json
BY_ERROR = {"ClaimFailed": "claim failed", TIMEOUT: "timeout", KERNEL_DIED: "kernel died"}
NO_FAILURE = ("ok", "not run", "running", "interrupted")  # every other status is a failure
SLOWEST, SLOW = 5, 0.05  # cells listed at most, and the seconds from which one counts as slow


@dataclass(frozen=True)
class Settings:
    """What a run sets in its notebooks; None leaves it as the notebook has it."""

    profile: str = "quick"
    device: str | None = None
    seed: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SlowCell:
    """A cell that took long: its execution count and its first line."""

    count: int | None
    seconds: float
    source: str


@dataclass
class Outcome:
    """What an executed notebook says about its execution."""

    status: str = "not run"
    message: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0
    cells: int = 0  # code cells
    cells_run: int = 0
    slowest: list[SlowCell] = field(default_factory=list)
    setup: dict[str, Any] = field(default_factory=dict)
    claims: list[dict[str, Any]] = field(default_factory=list)
    exercises: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether the notebook ended, and not well."""
        return self.status not in NO_FAILURE


@dataclass
class Entry:
    """One notebook of a run: its source, what the run sets in it, and what came out."""

    name: str
    title: str
    source: Path
    fingerprint: str  # of the source
    parameters: dict[str, Any]
    executed: Path  # within the folder of the run
    outcome: Outcome = field(default_factory=Outcome)


@dataclass
class Run:
    """The record of a run."""

    settings: Settings
    notebooks: list[Entry] = field(default_factory=list)
    started: str = ""  # ISO 8601
    seconds: float = 0.0
    interrupted: bool = False
    jobs: int = 1
    timeout: int | None = None
    coursekit: str = __version__

    def write(self, folder: Path) -> None:
        """Write ``run.json`` into the folder."""
        record = {"format": FORMAT, **asdict(self.settings), **asdict(self)}
        del record["settings"]
        record["notebooks"] = [entry | entry.pop("outcome") for entry in record["notebooks"]]
        files.write_text(folder / "run.json", json.dumps(record, indent=1, ensure_ascii=False, default=str) + "\n")


def read_run(folder: Path) -> Run:
    """The record in ``run.json``.

    Raises:
        CourseError: there is no such file, or another version of coursekit wrote it.
    """
    file = folder / "run.json"
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CourseError(f"no run to resume in {folder}: cannot read run.json ({error}).") from error
    if record.get("format") != FORMAT:
        raise CourseError(f"{file} was written by another version of coursekit. Run without --resume.")
    return Run(
        settings=_from(Settings, record),
        notebooks=[_entry(entry) for entry in record["notebooks"]],
        **{name: record[name] for name in _names(Run) - {"settings", "notebooks"}},
    )


def _entry(record: dict[str, Any]) -> Entry:
    paths = {name: Path(record[name]) for name in ("source", "executed")}
    parts = {
        "slowest": [SlowCell(**cell) for cell in record["slowest"]],
        "problems": [Problem(**problem) for problem in record["problems"]],
    }
    return _from(Entry, record | paths | {"outcome": _from(Outcome, record | parts)})


def _from(kind: Any, record: dict[str, Any]) -> Any:
    return kind(**{name: record[name] for name in _names(kind)})


def _names(kind: Any) -> set[str]:
    return {field.name for field in fields(kind)}


def outcome(nb: Any) -> Outcome:
    """What a notebook that was executed, or that stopped on the way, says about its execution."""
    problems = errors(nb)
    claims = files.records(nb, "claim")
    cells = files.code_cells(nb)
    run = {"seconds": 0.0, "peak_bytes": 0, "finished": True} | nb.metadata.get("coursekit", {})
    status = _judge(problems, claims, run["finished"])
    message = "not every cell ran to its end" if status == "error" else ""
    return Outcome(
        status=status,
        message=f"{problems[0].name}: {problems[0].message}" if problems else message,
        seconds=run["seconds"],
        peak_bytes=run["peak_bytes"],
        cells=len(cells),
        cells_run=sum(cell.execution_count is not None for cell in cells),
        slowest=_slowest(cells),
        setup=next(iter(files.records(nb, "setup")), {}),
        claims=claims,
        exercises=files.records(nb, "exercise"),
        problems=problems,
    )


def _judge(problems: list[Problem], claims: list[dict[str, Any]], finished: bool) -> str:
    """The status: a notebook is ok if nothing raised, every claim holds, and every cell ran to its end."""
    in_cells = [problem.name for problem in problems if problem.where == "cell"]
    if in_cells:
        return BY_ERROR.get(in_cells[0], "error")
    if any(claim["verdict"] == "fails" for claim in claims):
        return "claim failed"
    if problems:
        return "widget error"
    return "ok" if finished else "error"


def _slowest(cells: list[Any]) -> list[SlowCell]:
    timed = [(cell.metadata.get("papermill", {}).get("duration") or 0, cell) for cell in cells]
    slow = sorted((pair for pair in timed if pair[0] >= SLOW), key=lambda pair: -pair[0])
    return [
        SlowCell(cell.execution_count, round(seconds, 3), cell.source.strip().splitlines()[0])
        for seconds, cell in slow[:SLOWEST]
    ]
