"""Results for people (terminal) and machines (JSON). Nothing here prints: functions return text, plain values or rich renderables.

Import from the modules: those that draw tables import rich, the others do not.
"""
