"""The record of a run: its settings, an entry for each notebook, and the file ``run.json`` that holds them."""

import json
import math
import traceback
from collections.abc import Iterator
from concurrent.futures import CancelledError
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from coursekit import __version__
from coursekit.course import DEVICES, PROFILES
from coursekit.course.records import require_record
from coursekit.errors import CourseError, unknown
from coursekit.files import write_text
from coursekit.notebooks import files
from coursekit.notebooks.problems import EXERCISE_OPEN, KERNEL_DIED, TIMEOUT, Problem, broken_off, find_problems

FORMAT = 2  # of run.json
PROMISED_BYTES = {"smoke": 2 * 2**30, "quick": 2 * 2**30, "full": 8 * 2**30}  # of memory at most, on a CPU

Status = Literal[
    "not run",
    "running",
    "ok",
    "interrupted",
    "claim failed",
    "exercise open",
    "widget error",
    "error",
    "timeout",
    "kernel died",
]
BY_ERROR: dict[str, Status] = {
    "ClaimFailed": "claim failed",
    EXERCISE_OPEN: "exercise open",
    TIMEOUT: "timeout",
    KERNEL_DIED: "kernel died",
}


@dataclass(frozen=True)
class Settings:
    """What a run sets in every notebook; None leaves the notebook's own value.

    Raises:
        CourseError: the profile or the device is unknown, or a parameter has a field of its own.
    """

    profile: str = "quick"
    device: str | None = None
    seed: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)  # other names of the parameters cell

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise CourseError(unknown("profile", self.profile, PROFILES))
        if self.device is not None and self.device not in DEVICES:
            raise CourseError(unknown("device", self.device, DEVICES))
        for name in self.parameters.keys() & {"PROFILE", "DEVICE", "SEED"}:
            raise CourseError(f"the parameter {name} has an option of its own: --{name.lower()}.")


@dataclass
class Entry:
    """A notebook of a run: what is executed, and what came of it so far.

    While the status is "running", only the thread that executes the notebook changes the entry.
    """

    name: str
    title: str
    source: Path
    fingerprint: str  # of the source, when the run was planned
    parameters: dict[str, Any]
    cells: int
    cells_run: int = 0
    status: Status = "not run"
    message: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0  # of the kernel; on a busy machine it says more than `seconds`
    peak_bytes: int = 0
    setup: dict[str, Any] = field(default_factory=dict)
    claims: list[dict[str, Any]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    exercises: list[dict[str, Any]] = field(default_factory=list)
    score: dict[str, int] | None = None  # how many of the exercises are solved; None if the notebook does not say
    problems: list[Problem] = field(default_factory=list)

    @classmethod
    def of(cls, source: Path, settings: Settings) -> "Entry":
        """The entry of a notebook that is still to be executed.

        Raises:
            CourseError: the notebook cannot be read, is not for Python, or lacks one of the parameters.
        """
        nb = files.read(source)
        spoken = nb.metadata.get("kernelspec", {}).get("language") or nb.metadata.get("language_info", {}).get("name")
        if spoken and "python" not in str(spoken).lower():
            raise CourseError(f"{source} is written in {spoken}, and coursekit executes Python only.")
        known = files.parameters(nb)
        for name in settings.parameters:
            if name not in known:
                raise CourseError(unknown(f"parameter of {source.name}", name, known))
        general = {"PROFILE": settings.profile, "DEVICE": settings.device, "SEED": settings.seed}
        given = {name: value for name, value in general.items() if name in known and value is not None}
        return cls(
            name=source.stem,
            title=files.title(nb),
            source=source,
            fingerprint=files.fingerprint(nb),
            parameters=given | settings.parameters,
            cells=len(files.code_cells(nb)),
        )

    @property
    def executed(self) -> Path:
        """The executed notebook, in the folder of the run."""
        return Path("notebooks", self.source.name)

    @property
    def failed(self) -> bool:
        """Whether the notebook has ended, and not well."""
        return self.status not in ("not run", "running", "ok", "interrupted")

    @property
    def takes_too_much(self) -> bool:
        """Whether the notebook has taken more memory than the course promises for its profile on a CPU."""
        if self.setup.get("device") != "cpu":
            return False
        return self.peak_bytes > PROMISED_BYTES.get(self.setup.get("profile", ""), math.inf)

    def describe(self, nb: files.Notebook) -> None:
        """Take over what an executed notebook, whole or not, says about its execution."""
        cells = files.code_cells(nb)
        self.cells = len(cells)
        self.cells_run = sum(cell.execution_count is not None for cell in cells)
        self.setup = next(_required(nb, "setup"), {})
        self.claims = [asdict(claim) for claim in files.claims(nb)]
        self.checks = files.checks(nb)
        self.exercises = list(_required(nb, "exercise"))
        self.score = next(_required(nb, "score"), None)
        self.problems = find_problems(nb)

    def conclude(self, folder: Path, error: Exception | None = None) -> None:
        """Judge the executed notebook: it is ok only if every cell ran to its end and nothing went wrong.

        Args:
            error: what ended the execution from outside, so that the executed file does not hold it.
        """
        nb = None
        try:
            nb = files.read(folder / self.executed)
            self.describe(nb)
        except CourseError as damage:  # nothing was written, or not a notebook
            error, self.cells_run = error or damage, 0
        self.status, self.message = self.verdict(error)
        if error or (self.status == "error" and not self.problems):
            lines = traceback.format_exception(error) if self.status == "error" and error else [self.message]
            self.problems.append(broken_off(nb, self.message, "".join(lines)))

    def verdict(self, error: Exception | None = None) -> tuple[Status, str]:
        """Status and message, from the error that ended the execution or else from what `describe` found."""
        if isinstance(error, CancelledError):
            return "interrupted", "The run was interrupted in this cell."
        if error:
            return "error", f"{type(error).__name__}: {error}"
        first = self.problems[0] if self.problems else None
        message = f"{first.name}: {first.message}" if first else ""
        if first and first.where == "cell":
            return BY_ERROR.get(first.name, "error"), message
        if any(it["verdict"] == "fails" for it in self.claims + self.checks):
            return "claim failed", message
        if first:
            return "widget error", message
        return ("ok", "") if self.cells_run == self.cells else ("error", "The execution ended before this cell.")


@dataclass
class Run:
    """A run, in a folder that holds ``run.json``, the executed notebooks and the report."""

    folder: Path
    settings: Settings
    notebooks: list[Entry] = field(default_factory=list)
    seconds: float = 0.0
    started: datetime = field(default_factory=lambda: datetime.now().astimezone())
    interrupted: bool = False
    jobs: int = 1  # notebooks at a time
    timeout: int | None = None  # seconds for one notebook

    def save(self) -> None:
        """Write ``run.json``.

        Raises:
            CourseError: the folder cannot be written.
        """
        content = {"format": FORMAT, "coursekit": __version__, **asdict(self)}
        text = json.dumps(content, indent=1, ensure_ascii=False, default=str) + "\n"  # paths and times become text
        try:
            (self.folder / "notebooks").mkdir(parents=True, exist_ok=True)
            write_text(self.folder / "run.json", text)
        except OSError as error:
            raise CourseError(f"the run cannot be written to {self.folder}: {error.strerror}.") from error

    @classmethod
    def load(cls, folder: Path) -> "Run":
        """The run that ``run.json`` records, to be resumed: its settings, entries and seconds.

        Raises:
            CourseError: there is no such file, or another version of coursekit wrote it.
        """
        file = folder / "run.json"
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(content, dict) or content.get("format") != FORMAT:
                raise CourseError(f"{file} was written by another version of coursekit. Run without --resume.")
            entries = [_entry(**fields) for fields in content["notebooks"]]
            return cls(folder, Settings(**content["settings"]), entries, content["seconds"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise CourseError(f"no run to resume in {folder}: cannot read run.json ({error}).") from error


def _required(nb: files.Notebook, kind: str) -> Iterator[dict[str, Any]]:
    return (require_record(record, kind) for record in files.records(nb, kind))


def _entry(source: str, problems: list[dict[str, Any]], **fields: Any) -> Entry:
    return Entry(source=Path(source), problems=[Problem(**problem) for problem in problems], **fields)
