"""Raises a model to a newer operator set: each node becomes what means the same there, or the model stays as it is.

Most operators mean the same at a newer opset as before; :mod:`~graphopt.transforms.opset.versions` reads that from their schemas. For each
change that schemas can't vouch for there is an adapter, by operator, in the modules here. May import what passes may.
"""

from __future__ import annotations

from graphopt.transforms.opset.raising import RaiseOpset

__all__ = ["RaiseOpset"]
