import io
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

import IPython.display
import nbclient
import nbformat
import numpy as np
import pytest
import torch

from coursekit.training import History
from coursekit.training import progress as progress_module
from coursekit.training.progress import LiveCurve, TerminalBar, curve_svg, watch


def history(steps=6):
    made = History(4, 2)
    for step in range(steps):
        made.record({"a<b": torch.tensor(1.0 / (step + 1))})
    made.flush()
    return made


@pytest.fixture
def shown(monkeypatch):
    """What would be on the screen of a notebook, output by output."""
    outputs = []

    def display(content, raw, display_id):
        outputs.append([content])
        return SimpleNamespace(update=lambda content, raw: outputs[-1].append(content))

    monkeypatch.setattr(IPython.display, "display", display)
    monkeypatch.setattr(progress_module, "DELAY", 0.0)
    return outputs


def in_notebook(monkeypatch, kernel):
    monkeypatch.setattr(IPython, "get_ipython", lambda: SimpleNamespace(kernel=kernel))


def test_the_display_follows_the_place(monkeypatch):
    in_notebook(monkeypatch, kernel=object())
    assert isinstance(watch(history(), 3, True), LiveCurve)
    assert isinstance(watch(history(), 3, False), TerminalBar)
    in_notebook(monkeypatch, kernel=None)
    assert isinstance(watch(history(), 3, True), TerminalBar)
    monkeypatch.delitem(sys.modules, "IPython")
    assert isinstance(watch(history(), 3, True), TerminalBar)


def test_a_notebook_sees_one_output_that_ends_as_a_stable_line(shown):
    live = LiveCurve(History(4, 2), epochs=5)
    live.update(history(4))
    live.update(history(6))
    live.close(history(10))
    ((first, second, last),) = shown
    assert first["text/html"].startswith('<div><progress value="4" max="10"')
    assert "epoch 4/5 · a<b 0.1667 · 0 s, about 0 s left" in second["text/plain"]
    assert "a&lt;b" in second["text/html"]
    assert last == {"text/plain": "Trained 5 epochs, 10 steps: a<b 0.75 → 0.1056"}


def test_a_short_run_shows_only_the_line(shown, monkeypatch):
    monkeypatch.setattr(progress_module, "DELAY", 1e9)
    live = LiveCurve(History(4, 2), epochs=3)
    live.update(history())
    live.close(history())
    assert shown == [[{"text/plain": repr(history())}]]


def read_svg(losses):
    svg = ElementTree.fromstring(curve_svg(losses))
    lines = [[tuple(map(float, p.split(","))) for p in line.get("points").split()] for line in svg.iter("polyline")]
    return svg.get("aria-label"), lines


def test_the_curve_falls_with_the_loss_and_has_a_name_for_those_who_do_not_see_it():
    label, (line,) = read_svg({"loss": np.linspace(3.0, 1.0, 160).repeat(5)})
    assert label == "loss over 800 steps, from 1 to 3"
    x, y = zip(*line, strict=True)
    assert len(line) == progress_module.POINTS
    assert list(x) == sorted(x)
    assert list(y) == sorted(y)
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, progress_module.WIDTH, progress_module.HEIGHT)


def test_losses_over_decades_get_a_logarithmic_axis():
    label, (line,) = read_svg({"loss": np.array([100.0, 10.0, 1.0])})
    assert label.endswith("from 1 to 100, logarithmic scale")
    assert [y for _, y in line] == [0, progress_module.HEIGHT / 2, progress_module.HEIGHT]
    assert "logarithmic" not in read_svg({"loss": np.array([100.0, 10.0, -1.0])})[0]


def test_several_losses_share_the_axis_and_a_constant_one_is_no_division_by_zero():
    label, lines = read_svg({name: np.ones(2) for name in "abcdef"})
    assert label == "a, b, c, d, e, f over 2 steps, from 1 to 1"
    assert len(lines) == 6


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "seen"), [(Terminal, True), (io.StringIO, False)])
def test_a_terminal_sees_a_bar_that_goes_away_and_a_log_sees_nothing(monkeypatch, stream, seen):
    monkeypatch.setattr(progress_module, "DELAY", 0.0)
    monkeypatch.setattr(sys, "stderr", stream())
    bar = TerminalBar(history(0), epochs=3, shown=True)
    bar.update(history(4))
    bar.close(history(6))
    text = sys.stderr.getvalue()
    assert ("epoch 3/3:" in text and "a<b 0.25" in text) is seen
    assert not text.split("\r")[-1].strip()


def test_no_progress_is_silence(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    bar = TerminalBar(history(0), epochs=3, shown=False)
    bar.update(history())
    bar.close(history())
    assert sys.stderr.getvalue() == ""


def test_in_a_real_notebook_one_line_is_left_and_nothing_in_stderr():
    code = """
    import torch
    from torch import nn
    from coursekit.training import Descent, fit, loop, progress
    progress.DELAY = loop.INTERVAL = 0.0
    model = nn.Linear(2, 1)
    data = torch.ones(64, 2)
    history = fit(Descent(model, lambda x: model(x).square().mean()), data, epochs=2, device="cpu")
    """
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code.replace("\n    ", "\n"))])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert output.output_type == "display_data"
    assert list(output.data) == ["text/plain"]
    assert output.data["text/plain"].startswith("Trained 2 epochs, 2 steps: loss ")
