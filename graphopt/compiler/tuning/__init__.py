"""Tuning: levels, passes and session options, tried in turns on this machine."""
