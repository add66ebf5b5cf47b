"""A lecture notebook as a deck of slides: one HTML file, and a PDF, that need no network."""

GENERATOR = "coursekit slides"  # by which a file is known to be a deck
