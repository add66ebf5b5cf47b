"""Recurrent nets: cells, backpropagation through time, models of text."""
