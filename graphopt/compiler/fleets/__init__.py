"""Many models in one run: planned, resumed, spread over executors, one report."""
