"""Calibration: data of all kinds in, what its values range over out, in bounded memory."""
