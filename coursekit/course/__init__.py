"""What a lecture notebook needs: set-up, profiles, claims, checks, guesses, figures with alt text, widgets.

Importing this package imports neither torch nor matplotlib.
"""

from coursekit.course.claims import ClaimFailed, at_least, at_most, between, check, claim, claims_table, within
from coursekit.course.controls import explore
from coursekit.course.display import animate, show
from coursekit.course.guesses import Guess, guess
from coursekit.course.session import DEVICES, PROFILES, Session, setup

__all__ = [
    "DEVICES",
    "PROFILES",
    "ClaimFailed",
    "Guess",
    "Session",
    "animate",
    "at_least",
    "at_most",
    "between",
    "check",
    "claim",
    "claims_table",
    "explore",
    "guess",
    "setup",
    "show",
    "within",
]
