"""Encoding and search where one machine is not enough: on Ray, into what the notebooks find."""
