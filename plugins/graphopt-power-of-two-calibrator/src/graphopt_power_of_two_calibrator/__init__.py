"""A graphopt plugin for devices that scale by shifting: ranges end at powers of two."""

from graphopt import hookimpl
from graphopt.passes import Lazy

GRAPHOPT_API_VERSION = 1


@hookimpl
def graphopt_calibrators():
    return {"power-of-two": Lazy("graphopt_power_of_two_calibrator.power_of_two:PowerOfTwo")}
