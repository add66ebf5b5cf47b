"""The exercises of the lectures, one module per lecture: the course's own solutions, and the checks of an answer.

- ``checking``   `Exercises` and `Exercise`; what checks have in common
- ``trained``    small nets that checks train, each once
- ``lectureNN``  ``exercise``, the `Exercises` of lecture NN
"""
