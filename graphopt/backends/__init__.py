"""Backends: IR to what a runtime loads; each legalizes, then emits."""
