"""Pruning as a tool: an amount or a budget in, a smaller model out, recovered, judged, and held to what it says it is."""
