"""The checks of the exercises, one module a subject; ``coursekit.course.exercise`` finds them by name."""
