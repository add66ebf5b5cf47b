"""``coursekit doctor``: is this machine ready for the course?"""

import typer


def doctor() -> None:
    """Look at Python, packages, device, kernel and disk, and say what to do about each trouble."""
    from coursekit.course.machine import findings

    troubles = 0
    for finding in findings():
        typer.echo(str(finding))
        troubles += finding.verdict == "trouble"
    if troubles:
        raise typer.Exit(1)
