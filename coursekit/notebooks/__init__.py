"""Notebooks as files and as runs: find, read, execute, report, hand out, turn into slides."""
