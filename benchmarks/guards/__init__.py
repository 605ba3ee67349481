"""From the built-in rules to a table of their guards and whether the testing kit notices that one is gone.

A guard is what keeps a rule from applying: what its pattern asks of values and nodes, and each condition of its body. A mutant is the
rule without one of them. The kit is good where every guard that matters is missed by somebody: `python -m benchmarks.guards`.
"""
