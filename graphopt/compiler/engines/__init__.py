"""Engines: models with sizes and a precision, through a backend that builds."""
