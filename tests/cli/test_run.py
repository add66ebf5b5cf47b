"""``coursekit run`` on small notebooks. Kernels start slowly, so a few runs serve many tests."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import typer
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from typer.testing import CliRunner

from coursekit.cli import run
from coursekit.notebooks import files, runs
from coursekit.notebooks.normalize import normalize
from coursekit.notebooks.run_record import Entry, Run, Settings
from coursekit.notebooks.terminal import LiveTable

run_module = sys.modules["coursekit.cli.run"]  # in the package, the name means the command

PARAMETERS = 'PROFILE = "quick"\nSEED = 0\nDEVICE = "auto"\nEPOCHS = 1'
RECORDS = """
from IPython.display import display
class ClaimFailed(AssertionError): pass
def record(kind, **fields):
    display({"text/plain": kind}, raw=True, metadata={"coursekit": {kind: fields}})
def claim(number, verdict):
    about = dict(statement=f"claim {number}", value=3, bound="≤ 4", source="E1")
    record("claim", number=number, verdict=verdict, **about)
    if verdict == "fails":
        raise ClaimFailed(f"claim {number}")
record("setup", profile=PROFILE, seed=SEED, device="cpu", threads=1, versions={"torch": "2.13.0"})
"""
WAIT = """
import time
from pathlib import Path
while not Path("go").exists():
    time.sleep(0.05)
"""


def write(folder: Path, name: str, *sources: str, tags: tuple[str, ...] = ()) -> Path:
    """A lecture in miniature: title, parameters, the records' functions, and the given cells, all with these tags."""
    parameters = new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
    cells = [new_markdown_cell(f"# On {name}"), parameters, new_code_cell(RECORDS.strip())]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.ipynb"
    cells += [new_code_cell(source.strip(), metadata={"tags": list(tags)}) for source in sources]
    files.write(new_notebook(cells=cells), path)
    return path


def coursekit(*arguments: object, status: int = 0) -> str:
    """The command in this process."""
    app = typer.Typer()
    app.command()(run)
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.output


def ends(pid: int) -> bool:
    """Whether the process is gone, or about to be (a zombie only waits for its parent to notice)."""
    for _ in range(200):
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def entries(out: Path) -> dict[str, dict]:
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    return {entry["name"]: entry for entry in record["notebooks"]}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """One run, in a process of its own, over notebooks that end in every possible way."""
    folder = tmp_path_factory.mktemp("course")
    sources = folder / "not {here}"
    write(
        sources,
        "01_good",
        'claim(1, "holds"); claim(2, "not judged")',
        "import os, sys\nprint(os.environ.get('COURSEKIT_PROFILE'), os.environ['OMP_NUM_THREADS'])",
        "print(os.getcwd()); print(sys.executable); print(PROFILE, SEED, DEVICE, EPOCHS)",
    )
    write(sources, "02_claim", 'claim(1, "holds"); claim(2, "fails")', "print('never')")
    write(sources, "03_error", "def f(x):\n    return 1 / x\n\nf(0)", "print('never')")
    write(
        sources,
        "04_widget",
        "from ipywidgets import interact\n\ndef draw(x):\n    raise KeyError('slider')\n\ninteract(draw, x=(0, 3));",
        "print('still running')",
    )
    write(sources, "05_kernel", "import os, signal", "os.kill(os.getpid(), signal.SIGKILL)")
    write(sources, "06_silent", "%%writefile\ntext without a name of a file", "print('never')")
    write(sources, "07_plain", "EPOCHS")
    out = folder / "out"
    options = ["--profile", "smoke", "--seed", "7", "-p", "EPOCHS=[1, 'two']", "--jobs", "2", "--out", out]
    result = subprocess.run(
        [sys.executable, "-m", "coursekit", "run", sources, *options],
        env=os.environ | {"COURSEKIT_PROFILE": "full", "OMP_NUM_THREADS": "3"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
    return sources, out, result


def test_whatever_goes_wrong_every_notebook_gets_its_status(course):
    _, out, result = course
    assert result.returncode == 1, result.stderr
    assert result.stderr == ""
    assert {name: entry["status"] for name, entry in entries(out).items()} == {
        "01_good": "ok",
        "02_claim": "claim failed",
        "03_error": "error",
        "04_widget": "widget error",  # papermill alone would pass this one
        "05_kernel": "kernel died",
        "06_silent": "error",  # and this one
        "07_plain": "ok",
    }


def test_the_record_of_a_run_has_one_form(course):
    _, out, _ = course
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert record["settings"] == {
        "profile": "smoke",
        "device": None,
        "seed": 7,
        "parameters": {"EPOCHS": [1, "two"]},
    }
    assert (record["format"], record["jobs"], record["timeout"]) == (2, 2, None)
    assert record["interrupted"] is False
    forms = {tuple(sorted((key, type(value).__name__) for key, value in e.items())) for e in record["notebooks"]}
    assert len(forms) == 1
    entry = entries(out)["01_good"]
    assert entry["title"] == "On 01_good"
    assert entry["setup"]["versions"] == {"torch": "2.13.0"}
    assert (entry["setup"]["profile"], entry["setup"]["seed"]) == ("smoke", 7)
    assert [claim["verdict"] for claim in entry["claims"]] == ["holds", "not judged"]
    assert entry["cells"] == entry["cells_run"] == 5
    assert entry["peak_bytes"] > 10e6
    assert 0 < entry["cpu_seconds"] < 600
    assert 0 < entry["seconds"] < record["seconds"]


def test_a_kernel_gets_the_parameters_one_thread_and_the_folder_of_its_notebook(course):
    sources, out, _ = course
    nb = files.read(out / "notebooks" / "01_good.ipynb")
    printed = [output.text for _, output in files.outputs(nb) if output.output_type == "stream"]
    assert printed == ["None 1\n", f"{sources}\n{sys.executable}\nsmoke 7 auto [1, 'two']\n"]


@pytest.mark.parametrize(
    ("name", "where", "source", "message"),
    [
        ("02_claim", "cell", 'claim(1, "holds"); claim(2, "fails")', "ClaimFailed: claim 2"),
        ("03_error", "cell", "f(0)", "ZeroDivisionError: division by zero"),
        ("04_widget", "widget", "interact(draw, x=(0, 3))", "KeyError: 'slider'"),
        ("05_kernel", "cell", "os.kill(os.getpid()", "KernelDied: the kernel died in this cell"),
        ("06_silent", "cell", "%%writefile", "UsageError: the following arguments are required: filename"),
    ],
)
def test_the_failing_cell_is_named_and_shown_once(course, name, where, source, message):
    _, out, result = course
    [problem] = entries(out)[name]["problems"]
    assert problem["where"] == where
    assert source in problem["source"]
    assert message in entries(out)[name]["message"]
    assert result.stdout.count(f"── {name}: ") == 1
    shown = result.stdout.split(f"── {name}: ")[1].split("\n── ")[0]
    assert problem["source"] in shown
    assert message in shown
    assert "\x1b" not in result.stdout


SILENT = {  # cells that fail without an error output, each with its status and the error in the reply of the kernel
    "1_option": ("%alias_magic", "error", "UsageError: the following arguments are required"),
    "2_hidden": (
        "get_ipython().showtraceback = lambda *_, **__: None\nraise OSError('lost')",
        "error",
        "OSError: lost",
    ),
    "3_printed": (
        "shell = get_ipython()\nshell._showtraceback = lambda *lines: print('oh no')\n{}['key']",
        "error",
        "KeyError: 'key'",
    ),
    "4_exit": ("exit()", "kernel died", "KernelDied: this cell ended the kernel"),
}


def test_a_cell_that_fails_in_silence_fails_its_notebook_and_no_source_is_written(tmp_path):
    paths = {name: write(tmp_path, name, source, "print('never')") for name, (source, *_) in SILENT.items()}
    before = {path: path.read_bytes() for path in paths.values()}
    output = coursekit(tmp_path, "--update", "--jobs", 2, "--out", tmp_path / "out", status=1)
    for name, entry in entries(tmp_path / "out").items():
        source, status, message = SILENT[name]
        assert (entry["status"], entry["cells_run"], entry["cells"]) == (status, 3, 4)
        [problem] = entry["problems"]
        assert (problem["source"], problem["count"]) == (source, 4)
        assert message in problem["traceback"]
        assert message in entry["message"]
        assert message in output.split(f"── {name}: ")[1].split("\n── ")[0]
    assert {path: path.read_bytes() for path in before} == before


def test_an_error_is_expected_where_a_tag_says_so_but_not_the_end_of_the_kernel(tmp_path):
    expected = ("1 / 0", "%nosuchmagic", "raise SystemExit", "print('goes on')")
    write(tmp_path, "1_expected", *expected, tags=("raises-exception",))
    write(tmp_path, "2_killed", "import os\nos._exit(3)", tags=("raises-exception",))
    write(tmp_path, "3_skipped", "1 / 0", tags=("skip-execution",))
    coursekit(tmp_path, "--jobs", 2, "--out", tmp_path / "out", status=1)
    assert {name: (entry["status"], entry["cells_run"]) for name, entry in entries(tmp_path / "out").items()} == {
        "1_expected": ("ok", 6),
        "2_killed": ("kernel died", 3),
        "3_skipped": ("ok", 2),
    }


def test_a_notebook_whose_last_cells_have_no_result_is_not_ok(tmp_path):
    entry = Entry.of(write(tmp_path, "1_good", "first()", "second()"), Settings())
    nb = files.read(entry.source)
    for cell in files.code_cells(nb)[:-1]:
        cell.execution_count = 1
    (tmp_path / "notebooks").mkdir()
    files.write(nb, tmp_path / entry.executed)
    entry.conclude(tmp_path)
    assert (entry.status, entry.cells_run, entry.cells) == ("error", 3, 4)
    assert [problem.source for problem in entry.problems] == ["second()"]


def test_what_was_computed_before_a_failure_is_kept(course):
    _, out, _ = course
    for name, cells in {"02_claim": 3, "05_kernel": 4, "06_silent": 3}.items():
        assert entries(out)[name]["cells_run"] == cells
        assert files.records(files.read(out / "notebooks" / f"{name}.ipynb"), "setup")


def test_plain_lines_say_what_starts_and_ends_and_a_summary_follows(course):
    _, out, result = course
    lines = result.stdout.splitlines()
    assert lines.count("01_good: started") == 1
    assert any(line.startswith("01_good: ok, ") and "1 claim held, 1 not judged" in line for line in lines)
    assert "7 notebooks: 2 ok, 1 claim failed, 2 error" in lines[-2]
    assert "2 claims held, 1 failed, 1 not judged" in lines[-2]
    assert lines[-1] == f"Report: {out / 'index.html'}"
    assert (out / "index.html").is_file()


def test_at_the_deadline_the_notebook_says_which_cell_was_running(tmp_path):
    nb = new_notebook(cells=[new_code_cell(WAIT.strip()), new_code_cell("'never'")])
    files.write(nb, tmp_path / "slow.ipynb")
    coursekit(tmp_path / "slow.ipynb", "--timeout", 1, "--out", tmp_path / "out", status=1)
    entry = entries(tmp_path / "out")["slow"]
    assert entry["status"] == "timeout"
    assert "this cell was still running" in entry["message"]
    assert entry["problems"][0]["source"] == WAIT.strip()
    assert entry["problems"][0]["count"] == 1


def test_no_kernel_is_left_when_the_run_is_killed(tmp_path):
    mark = "import os\nfrom pathlib import Path\nPath('kernel').write_text(str(os.getpid()))"
    path = write(tmp_path, "1_slow", mark, WAIT)
    process = subprocess.Popen([sys.executable, "-m", "coursekit", "run", path, "--out", tmp_path / "out"])
    deadline = time.monotonic() + 120
    while not ((tmp_path / "kernel").exists() and (tmp_path / "kernel").read_text()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert ends(int((tmp_path / "kernel").read_text()))


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGHUP")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_run_that_is_told_to_end_leaves_a_report_and_no_kernel(tmp_path, name):
    mark = "import os\nfrom pathlib import Path\nPath('kernel').write_text(str(os.getpid()))"
    path = write(tmp_path, "1_slow", mark, "list(range(10**8)).sort(key=str)")  # a long call of a C function
    command = [sys.executable, "-m", "coursekit", "run", path, "--out", tmp_path / "out"]
    reset = partial(signal.signal, getattr(signal, name), signal.SIG_DFL)  # tests may themselves run under nohup
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=reset)
    deadline = time.monotonic() + 120
    while not ((tmp_path / "kernel").exists() and (tmp_path / "kernel").read_text()):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(getattr(signal, name))
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 130
    assert ends(int((tmp_path / "kernel").read_text()))
    assert entries(tmp_path / "out")["1_slow"]["status"] == "interrupted"
    assert (tmp_path / "out" / "index.html").exists()


def test_what_a_notebook_starts_ends_with_it(tmp_path):
    imports = "import subprocess\nfrom pathlib import Path"
    start = "child = subprocess.Popen(['sleep', '600'], start_new_session=True)"
    write(tmp_path, "1_child", f"{imports}\n{start}\nPath('child').write_text(str(child.pid))")
    coursekit(tmp_path, "--out", tmp_path / "out")
    assert ends(int((tmp_path / "child").read_text()))


def test_one_bad_notebook_costs_no_other(tmp_path):
    """Malformed records and images, damaged widgets, and an error in a widget of an earlier execution."""
    show = "from IPython.display import display\ndisplay({{'text/plain': 'x', 'image/png': {}}}, raw=True, metadata={})"
    records = {"coursekit": {"claim": {"number": "one"}}}, {"coursekit": {"score": 3}}, {"coursekit": 5}
    for number, metadata in enumerate(records, start=1):
        write(tmp_path, f"{number}_record", show.format("'AAAA'", metadata))
    write(tmp_path, "4_image", show.format("'A'", {"image/png": 3}))
    widget = "import ipywidgets\nslider = ipywidgets.IntSlider()\nslider"
    write(tmp_path, "5_widget", f"{widget}\nslider.comm.send({{'method': 'update', 'state': {{'outputs': [5]}}}})")
    path = write(tmp_path, "6_earlier", "1")
    nb = files.read(path)
    error = {"output_type": "error", "ename": "KeyError", "evalue": "old", "traceback": []}
    nb.metadata["widgets"] = {files.WIDGET_STATE: {"state": {"m": {"state": {"outputs": [error]}}}}}
    files.write(nb, path)
    coursekit(tmp_path, "--out", tmp_path / "out", status=1)
    found = entries(tmp_path / "out")
    assert {name: entry["status"] for name, entry in found.items()} == {
        "1_record": "error",
        "2_record": "error",
        "3_record": "ok",
        "4_image": "ok",
        "5_widget": "ok",
        "6_earlier": "ok",
    }
    assert "the claim record is malformed" in found["1_record"]["message"]
    assert "the score record is malformed at 'solved'" in found["2_record"]["message"]
    assert (tmp_path / "out" / "index.html").exists()


def test_what_a_message_or_a_name_holds_does_not_command_the_terminal(tmp_path):
    write(tmp_path, "1_title", "raise ValueError('\\x1b]0;owned\\x07 \\x9b2J \\r gone')")
    output = coursekit(tmp_path, "--out", tmp_path / "out", status=1)
    assert "?]0;owned?" in output
    assert not set(output) & set("\x07\x9b\r")
    assert "\x1b]" not in output


def test_two_runs_of_one_second_have_two_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = Run(Path("runs", "now"), Settings()), Run(Path("runs", "now"), Settings())
    with runs.holding(first, new=True):
        first.save()
        with runs.holding(second, new=True):
            second.save()
    assert [run.folder for run in (first, second)] == [Path("runs", "now"), Path("runs", "now-2")]


@pytest.mark.parametrize("resume", [True, False])
def test_one_folder_belongs_to_one_run_at_a_time(tmp_path, resume):
    path, out = write(tmp_path, "1_good", "1"), tmp_path / "out"
    coursekit(path, "--out", out)
    with runs.holding(Run(out, Settings()), new=False):
        if not resume:
            (out / "run.json").unlink()
            shutil.rmtree(out / "notebooks")
        said = coursekit(path, "--out", out, *(["--resume"] if resume else []), status=2)
        assert ("another run is writing to" if resume else "is not empty") in said
    if resume:
        coursekit(path, "--out", out, "--resume")


@pytest.mark.parametrize(
    "metadata",
    [
        {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}, "language_info": {"name": "R"}},
        {"language_info": {"name": "julia"}},
        {"kernelspec": {"name": "bash", "display_name": "Bash", "language": "bash"}},
    ],
)
def test_a_notebook_in_another_language_is_refused(tmp_path, metadata):
    files.write(new_notebook(cells=[new_code_cell("x <- 1")], metadata=metadata), tmp_path / "a.ipynb")
    said = coursekit(tmp_path / "a.ipynb", "--out", tmp_path / "out", status=2)
    assert f"a.ipynb is written in {metadata.get('language_info', {'name': 'bash'})['name']}, and" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name == "nt", reason="there a signal for one process cannot be sent")
def test_after_ctrl_c_finished_work_is_kept_no_kernel_is_left_and_resume_continues(tmp_path):
    write(tmp_path, "1_done", "with open('done.txt', 'a') as file:\n    file.write('once ')")
    mark = "import os\nfrom pathlib import Path\nPath('kernel').write_text(str(os.getpid()))"
    write(tmp_path, "2_slow", mark, WAIT)
    write(tmp_path, "3_next")
    command = [sys.executable, "-m", "coursekit", "run", tmp_path, "--jobs", "1", "--out", tmp_path / "out"]
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell may have set to ignore
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, handler)
    saved = tmp_path / "out" / "notebooks" / "2_slow.ipynb"
    deadline = time.monotonic() + 120
    while not (saved.exists() and (tmp_path / "kernel").exists() and mark_is_saved(saved)):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)

    assert (process.returncode, stderr) == (130, "")
    assert "with --resume continues" in stdout
    assert ends(int((tmp_path / "kernel").read_text()))
    assert {name: entry["status"] for name, entry in entries(tmp_path / "out").items()} == {
        "1_done": "ok",
        "2_slow": "interrupted",
        "3_next": "not run",
    }
    assert entries(tmp_path / "out")["2_slow"]["problems"][0]["source"] == WAIT.strip()
    assert "Interrupted: 1 of 3" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")

    (tmp_path / "go").touch()
    coursekit("--resume", "--out", tmp_path / "out")
    assert {entry["status"] for entry in entries(tmp_path / "out").values()} == {"ok"}
    assert (tmp_path / "done.txt").read_text() == "once "


def mark_is_saved(path: Path) -> bool:
    return files.code_cells(files.read(path))[2].execution_count is not None


def test_update_writes_back_what_succeeded_normalized_and_nothing_else(tmp_path):
    good = write(tmp_path, "1_good", "print(6 * 7)")
    bad = write(tmp_path, "2_bad", "1 / 0")
    edited = write(tmp_path, "3_edited", "with open('3_edited.ipynb', 'a') as file:\n    file.write(' ')")
    before = {path: path.read_bytes() for path in (good, bad, edited)}
    output = coursekit(tmp_path, "--update", "--jobs", 2, "--out", tmp_path / "out", status=1)
    nb = files.read(good)
    assert nb == normalize(files.read(tmp_path / "out" / "notebooks" / "1_good.ipynb"))
    assert files.fingerprint(nb) == files.fingerprint(nb_of(before[good], tmp_path))
    assert files.code_cells(nb)[-1].outputs[0].text == "42\n"
    assert files.records(nb, "setup")[0]["profile"] == "quick"
    assert bad.read_bytes() == before[bad]
    assert edited.read_bytes() == before[edited] + b" "
    assert f"Not updated, because it changed during the run: {edited}" in output


def nb_of(content: bytes, folder: Path):
    (folder / "copy").write_bytes(content)
    return files.read(folder / "copy")


def test_a_kernel_that_cannot_start_is_an_error_of_its_notebook(tmp_path, monkeypatch):
    path = write(tmp_path, "1_good")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "ipykernel_launcher.py").write_text("raise SystemExit('no kernel today')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))
    output = coursekit(path, "--out", tmp_path / "out", status=1)
    entry = entries(tmp_path / "out")["1_good"]
    assert entry["status"] == "error"
    assert "Kernel died before replying to kernel_info" in entry["message"]
    assert "Kernel died before replying to kernel_info" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["9_autoencoder"], "unknown notebook '9_autoencoder': did you mean 9_autoencoders?"),
        (["--profile", "quik"], "unknown profile 'quik': did you mean quick?"),
        (["--device", "gpu"], "unknown device 'gpu': did you mean cpu?"),
        (["-p", "EPOCH=3"], "unknown parameter of 9_autoencoders.ipynb 'EPOCH': did you mean EPOCHS?"),
        (["-p", "EPOCHS"], "--parameter needs NAME=VALUE, for example EPOCHS=3; it was given 'EPOCHS'"),
        (["-p", "EPOCHS=[{1: 2}]"], "--parameter EPOCHS=[{1: 2}]: the keys of a dictionary must be text"),
        (["-p", "SEED=3"], "the parameter SEED has an option of its own: --seed"),
        (
            ["--update", "--seed", "0"],
            "it works at profile quick, with no other setting",
        ),
        (["--resume"], "nothing to resume"),
        (["--out", "notebooks"], "notebooks is not empty. Continue its run with --resume, or choose another"),
        (["--out", "file"], "--out expects a folder, but file is a file"),
        (["--out", "notebooks", "--resume"], "no run to resume in notebooks: cannot read run.json"),
        (["--out", "old", "--resume"], "old/run.json was written by another version of coursekit"),
        (["--out", "list", "--resume"], "list/run.json was written by another version of coursekit"),
        (["--out", "empty", "--resume"], "no run to resume in empty: cannot read run.json ('notebooks')"),
        (["--out", "file/below"], "the run cannot be written to file/below: Not a directory"),
        (["9", "other"], "have the same name: run them separately"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_starts(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "notebooks", "9_autoencoders")
    write(tmp_path / "other", "9_autoencoders")
    (tmp_path / "file").touch()
    for name, content in {"old": '{"format": 1}', "list": "[]", "empty": '{"format": 2}'}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(content)
    before = sorted(tmp_path.rglob("*"))
    assert message in coursekit(*arguments, status=2).replace("\\", "/")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.fixture
def finished(tmp_path, monkeypatch):
    """A folder ``runs`` with two finished runs of one notebook, at quick (the newer one) and at smoke."""
    monkeypatch.chdir(tmp_path)
    source = write(tmp_path / "notebooks", "9_autoencoders")
    for age, profile in enumerate(("quick", "smoke")):
        settings = Settings(profile)
        entry = Entry.of(source, settings)
        entry.status, entry.seconds = "ok", 2.0
        folder = tmp_path / "runs" / profile
        Run(folder, settings, [entry], seconds=2.0).save()
        shutil.copy(source, folder / entry.executed)
        os.utime(folder / "run.json", (1e9 - age, 1e9 - age))
    return source


@pytest.mark.parametrize("profile", ["quick", "smoke"])
def test_resume_finds_the_newest_run_of_these_settings_and_has_nothing_left_to_do(finished, profile):
    output = coursekit("--resume", "--profile", profile)
    assert "started" not in output
    assert f"Report: {Path('runs', profile, 'index.html')}" in output


def test_resume_does_not_mix_settings(finished):
    output = coursekit("--resume", "--profile", "smoke", "--out", "runs/quick", status=2)
    assert "the run in runs/quick had profile quick. Choose another folder." in output.replace("\\", "/")


@pytest.mark.parametrize("change", ["source", "result", "status", "nothing"])
def test_what_changed_since_is_run_again(finished, change):
    resumed = runs.open_run(None, Settings(), resume=True)
    if change == "source":
        write(finished.parent, finished.stem, "1 + 1")
    if change == "result":
        (resumed.folder / "notebooks" / finished.name).unlink()
    if change == "status":
        resumed.notebooks[0].status = "timeout"
    [entry] = runs.plan(resumed, [str(finished)])
    assert entry.status == ("ok" if change == "nothing" else "not run")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 0.001),
        ("True", True),
        ("(1, 2)", [1, 2]),
        ("{'a': 1}", {"a": 1}),
        ("relu", "relu"),
        ("a=b", "a=b"),
        ("{1}", "{1}"),
    ],
)
def test_a_parameter_is_a_python_literal_or_text(text, value):
    assert run_module._parameter(f"NAME={text}") == ("NAME", value)


def test_without_a_folder_the_run_is_named_after_time_and_profile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new = runs.open_run(None, Settings("full"), resume=False)
    assert new.folder.parent == Path("runs")
    assert new.folder.name.endswith("-full")
    assert new.notebooks == []


def test_a_result_that_is_no_notebook_is_an_error_of_its_notebook(tmp_path):
    entry = Entry.of(write(tmp_path, "1_good"), Settings())
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "1_good.ipynb").write_text("{")
    entry.conclude(tmp_path)
    assert entry.status == "error"
    assert "is not a notebook" in entry.message


def test_on_a_terminal_a_table_shows_how_far_each_notebook_is(tmp_path, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    names = ("1_done", "2_at_work", "3_starting", "4_to_come")
    shown = [Entry.of(write(tmp_path, name), Settings()) for name in names]
    with LiveTable(shown) as table:
        for entry in shown[:3]:
            entry.status = "running"
            table.show(entry)
        shown[1].cells, shown[1].cells_run = 9, 2
        shown[1].claims = [{"verdict": verdict} for verdict in ("holds", "holds", "fails", "holds")]
        shown[0].status, shown[0].seconds, shown[0].cells_run = "kernel died", 75.0, 2
        table.show(shown[0])
        with table.console.capture() as capture:
            table.console.print(table.table(), no_wrap=True, style=None)
    text = capture.get()
    for expected in ("kernel died", "1 min 15 s", "2 of 9", "3 claims held, 1 failed", "starting", "not run"):
        assert expected in text
