"""``coursekit doctor``: is this machine ready for the course?"""

from typing import Annotated

import typer


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the findings as JSON, to paste into a bug report.")
    ] = False,
) -> None:
    """Check Python, packages, device, Jupyter, browser, disk and data, and say how to fix each problem.

    Exits with status 1 if something will not work. The findings hold no path, name or secret of yours.
    """
    import json
    from dataclasses import asdict

    from coursekit import __version__
    from coursekit.course.machine import all_findings

    found = []
    for finding in all_findings():
        found.append(finding)
        if not as_json:
            typer.echo(str(finding))
    if as_json:
        report = {"coursekit": __version__, "findings": [asdict(finding) for finding in found]}
        typer.echo(json.dumps(report, indent=2, ensure_ascii=False))
    if any(finding.verdict == "trouble" for finding in found):
        raise typer.Exit(1)
