"""``python -m tests.gpu`` where there is no GPU, and how the table spends its time."""

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.gpu import table
from tests.gpu.rows import ROWS, Result, Row

ROOT = Path(__file__).parents[1]


def run_script(out, *flags, **variables):
    command = [sys.executable, *flags, "-m", "tests.gpu", "--out", out]
    # The dry run must find in this environment all that it needs.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "PIP_NO_INDEX": "1"} | variables
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ([], r"PyTorch \S+ finds no CUDA device here"),
        (["-S"], "this Python has no PyTorch"),  # without site-packages
    ],
)
def test_without_a_gpu_it_says_so_and_ends_well(flags, reason, tmp_path):
    done = run_script(tmp_path / "gpu.md", *flags)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(f"Nothing was run: {reason}.\n", done.stdout)
    assert not (tmp_path / "gpu.md").exists()


def test_a_dry_run_fills_every_row(tmp_path):
    done = run_script(tmp_path / "gpu.md", COURSEKIT_GPU_DRY_RUN="1")
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "gpu.md").read_text(encoding="utf-8")
    assert "a dry run: a CPU in place of the GPU · PyTorch" in page
    lines = [line for line in page.splitlines() if line.startswith("| ")][2:]
    assert [line.split(" | ")[0].removeprefix("| ") for line in lines] == [row.what for row in ROWS]
    assert "passed in" in lines[0]


def quick():
    return Result("2 s", "CPU: 4 s", "2.0", "a | b\nc")


def broken():
    raise RuntimeError("3 failed, 40 passed")


def killed():
    os._exit(7)


def endless():
    """Starts another process and waits for it, as the rows of the tests and the notebook do."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        Path(os.environ["CHILD"]).write_text(str(child.pid), encoding="utf-8")


def test_a_row_runs_in_its_own_process_and_says_why_it_failed(capfd):
    assert table.run(Row("quick", quick, limit=60), left=60) == quick()
    assert table.run(Row("broken", broken, limit=60), left=60) == "failed: RuntimeError: 3 failed, 40 passed"
    assert table.run(Row("killed", killed, limit=60), left=60) == "failed: its process died (exit status 7)"
    assert "in broken" in capfd.readouterr().err  # the traceback


@pytest.mark.parametrize(("limit", "left"), [(15, 60), (60, 15)])  # seconds; a process may take ten to start
def test_a_row_that_takes_too_long_is_stopped_with_all_that_it_started(limit, left, tmp_path, monkeypatch):
    monkeypatch.setenv("CHILD", str(tmp_path / "child"))
    assert table.run(Row("endless", endless, limit), left) == "stopped after 15 s, out of time"
    with suppress(psutil.NoSuchProcess):
        child = psutil.Process(int((tmp_path / "child").read_text(encoding="utf-8")))
        assert child.status() == psutil.STATUS_ZOMBIE  # dead, if nobody has buried it yet


def test_without_time_a_row_is_not_started():
    assert table.run(Row("quick", quick, limit=60), left=0) == "not run, out of time"


def test_the_table_holds_every_outcome_in_a_line(monkeypatch):
    monkeypatch.setattr(table, "device_name", lambda: "a GPU")
    page = table.page({"quick": quick(), "slow": "not run, out of time"}, commit="abc1234")
    assert "\na GPU · PyTorch " in page
    assert " · commit abc1234\n" in page
    assert "\n| quick | 2 s | CPU: 4 s | 2.0 | a \\| b c |\n| slow | not run, out of time |  |  |  |\n" in page


@pytest.mark.parametrize(("measure", "status"), [(quick, 0), (broken, 1)])
def test_the_exit_status_is_0_only_if_every_row_was_measured(measure, status, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "ROWS", [Row("first", quick, 60), Row("second", measure, 60)])
    out = tmp_path / "docs" / "gpu.md"
    monkeypatch.setattr(table, "device_name", lambda: "a GPU")
    monkeypatch.setattr(
        sys, "argv", ["table", f"--deadline={time.monotonic() + 60}", "--commit=abc1234", f"--out={out}"]
    )
    assert table.main() == status
    assert out.read_text(encoding="utf-8").count("\n| ") == 4
