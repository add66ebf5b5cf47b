"""The exercises of each lecture: their checks, and the solutions of the course itself."""
