"""The pages of the reference: one for each part of the package, made from the docstrings by autodoc."""

from pathlib import Path

import coursekit
from coursekit.files import write_text

PACKAGE = Path(coursekit.__file__).parent
INTERNAL = {"__main__", "_data", "cli"}  # not for those who import the package
PAGE = "# `{name}`\n\n{directives}\n"
DIRECTIVE = "{heading}```{{eval-rst}}\n.. automodule:: {module}\n{options}```\n"


def write(folder: Path) -> None:
    """Write the sources of all pages and of their index."""
    folder.mkdir()
    for part in (parts := _parts()):
        modules = _modules(part)
        directives = []
        for number, module in enumerate(modules):
            heading = f"## `{module}`\n\n" if number else ""
            # A package only hands on what its modules define.
            options = "" if len(modules) > 1 and not number else "   :members:\n"
            directives.append(DIRECTIVE.format(heading=heading, module=module, options=options))
        write_text(folder / f"{part}.md", PAGE.format(name=f"coursekit.{part}", directives="\n".join(directives)))
    listed = "\n".join(parts)
    write_text(
        folder / "index.md",
        "# Reference of the package\n\nWhat the docstrings say. Every entry links to its source.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n",
    )


def modules() -> list[str]:
    """The dotted names of all modules in the reference."""
    return [module for part in _parts() for module in _modules(part)]


def _parts() -> list[str]:
    parts = sorted({path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"} - INTERNAL)
    return [part for part in parts if not part.startswith("_") and _modules(part)]


def _modules(part: str) -> list[str]:
    """The dotted names of a part and of its public modules."""
    file = PACKAGE / f"{part}.py"
    if file.is_file():
        return [f"coursekit.{part}"]
    inside = sorted(path for path in (PACKAGE / part).rglob("*.py") if not path.stem.startswith("_"))
    named = [".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts) for path in inside]
    return [f"coursekit.{part}", *named] if (PACKAGE / part / "__init__.py").is_file() else []
