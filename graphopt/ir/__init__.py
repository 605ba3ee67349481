"""The intermediate representation: a small typed graph in SSA form that knows no protobuf.

Import from here, not from the modules inside. May import ``graphopt.errors`` and ``graphopt.target`` only.
"""

from __future__ import annotations

from graphopt.ir.attributes import Attribute, AttributeKind, AttributeValue, make_attribute
from graphopt.ir.builder import GraphBuilder, Operand
from graphopt.ir.clone import clone_graph, clone_model, inline_graph
from graphopt.ir.collector import collector_paused
from graphopt.ir.constant import Array, ArrayData, Constant, SparseData, TensorData, pack_bytes, unpack_bytes
from graphopt.ir.constant_nodes import constant_of, constant_of_node, integer_of
from graphopt.ir.dims import (
    Dim,
    SymbolicDim,
    dim_max,
    dim_min,
    dim_product,
    dim_quotient,
    fresh_dim,
    is_nonnegative,
    lower_bound,
    symbol_of_axis,
    upper_bound,
)
from graphopt.ir.graph import Graph, NodeList, replace_all_uses
from graphopt.ir.lineage import Lineage
from graphopt.ir.listener import Listener
from graphopt.ir.model import Function, FunctionKey, GraphOwner, Model
from graphopt.ir.names import NameScope
from graphopt.ir.node import Node
from graphopt.ir.parser import parse_model
from graphopt.ir.printer import Weights, constants_by_digest, print_graph, print_model
from graphopt.ir.schema import (
    AttributeSpec,
    OpSchema,
    Parameter,
    coerce_attributes,
    find_schema,
    forget_schemas,
    is_known_domain,
    newest_opset,
    register_schema,
)
from graphopt.ir.storage import BytesInFile, BytesInMemory, ByteSource, StoredData
from graphopt.ir.structural import fingerprint, structural_equal, structural_hash
from graphopt.ir.types import (
    DType,
    MapType,
    OpaqueType,
    OptionalType,
    SequenceType,
    Shape,
    SparseTensorType,
    TensorType,
    Type,
    symbols_of,
)
from graphopt.ir.value import Quantization, Use, Value
from graphopt.ir.verifier import find_problems, verify

__all__ = [
    "Array",
    "ArrayData",
    "Attribute",
    "AttributeKind",
    "AttributeSpec",
    "AttributeValue",
    "ByteSource",
    "BytesInFile",
    "BytesInMemory",
    "Constant",
    "DType",
    "Dim",
    "Function",
    "FunctionKey",
    "Graph",
    "GraphBuilder",
    "GraphOwner",
    "Lineage",
    "Listener",
    "MapType",
    "Model",
    "NameScope",
    "Node",
    "NodeList",
    "OpSchema",
    "OpaqueType",
    "Operand",
    "OptionalType",
    "Parameter",
    "Quantization",
    "SequenceType",
    "Shape",
    "SparseData",
    "SparseTensorType",
    "StoredData",
    "SymbolicDim",
    "TensorData",
    "TensorType",
    "Type",
    "Use",
    "Value",
    "Weights",
    "clone_graph",
    "clone_model",
    "coerce_attributes",
    "collector_paused",
    "constant_of",
    "constant_of_node",
    "constants_by_digest",
    "dim_max",
    "dim_min",
    "dim_product",
    "dim_quotient",
    "find_problems",
    "find_schema",
    "fingerprint",
    "forget_schemas",
    "fresh_dim",
    "inline_graph",
    "integer_of",
    "is_known_domain",
    "is_nonnegative",
    "lower_bound",
    "make_attribute",
    "newest_opset",
    "pack_bytes",
    "parse_model",
    "print_graph",
    "print_model",
    "register_schema",
    "replace_all_uses",
    "structural_equal",
    "structural_hash",
    "symbol_of_axis",
    "symbols_of",
    "unpack_bytes",
    "upper_bound",
    "verify",
]
