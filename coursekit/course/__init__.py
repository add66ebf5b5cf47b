"""What a lecture notebook needs: set-up, profiles, claims, exercises, figures with alt text, widgets.

Importing this package imports neither torch nor matplotlib.
"""

from coursekit.course.claims import ClaimFailed, at_least, at_most, between, claim, claims_table, within
from coursekit.course.display import explore, show
from coursekit.course.exercises import ExerciseOpen, exercise
from coursekit.course.session import PROFILES, Session, setup

__all__ = [
    "PROFILES",
    "ClaimFailed",
    "ExerciseOpen",
    "Session",
    "at_least",
    "at_most",
    "between",
    "claim",
    "claims_table",
    "exercise",
    "explore",
    "setup",
    "show",
    "within",
]
