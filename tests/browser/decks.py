"""A deck that is open in a browser."""

from playwright.sync_api import Page


def turn_to(page: Page, words: str) -> None:
    """Show the slide that contains these words."""
    page.evaluate(
        """(words) => {
          const slide = [...document.querySelectorAll(".slide")].find((it) => it.textContent.includes(words));
          const {h, v} = Reveal.getIndices(slide);
          Reveal.slide(h, v);
        }""",
        words,
    )
