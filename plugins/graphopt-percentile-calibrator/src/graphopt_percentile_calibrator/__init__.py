"""A graphopt plugin that finds the range of a tensor by percentiles: outliers are cut off."""

from graphopt import hookimpl
from graphopt.passes import Lazy

GRAPHOPT_API_VERSION = 1


@hookimpl
def graphopt_calibrators():
    return {"percentile": Lazy("graphopt_percentile_calibrator.percentile:Percentile")}
