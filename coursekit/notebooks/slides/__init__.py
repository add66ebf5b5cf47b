"""A lecture notebook as a deck of slides: one HTML file, and on request a PDF, that need no network."""
