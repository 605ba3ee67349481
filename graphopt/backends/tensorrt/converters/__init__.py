"""Converters of the operators of the default domain, one family a module.

Each module is looked through for functions that ``lower`` marked.
"""

from graphopt.backends.tensorrt.converters import activations as activations
from graphopt.backends.tensorrt.converters import bits as bits
from graphopt.backends.tensorrt.converters import blocks as blocks
from graphopt.backends.tensorrt.converters import control_flow as control_flow
from graphopt.backends.tensorrt.converters import convolution as convolution
from graphopt.backends.tensorrt.converters import elementwise as elementwise
from graphopt.backends.tensorrt.converters import fused as fused
from graphopt.backends.tensorrt.converters import gathering as gathering
from graphopt.backends.tensorrt.converters import generators as generators
from graphopt.backends.tensorrt.converters import matrices as matrices
from graphopt.backends.tensorrt.converters import normalization as normalization
from graphopt.backends.tensorrt.converters import pooling as pooling
from graphopt.backends.tensorrt.converters import quantization as quantization
from graphopt.backends.tensorrt.converters import ranking as ranking
from graphopt.backends.tensorrt.converters import recurrent as recurrent
from graphopt.backends.tensorrt.converters import reduction as reduction
from graphopt.backends.tensorrt.converters import resizing as resizing
from graphopt.backends.tensorrt.converters import shapes as shapes
from graphopt.backends.tensorrt.converters import slicing as slicing
from graphopt.backends.tensorrt.converters import spectral as spectral
from graphopt.backends.tensorrt.converters import unary as unary
