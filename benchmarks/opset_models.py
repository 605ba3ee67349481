"""Small models of forms of operators that later opsets have otherwise, as ONNX text: what real models seldom show all of."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import onnx
import onnx.parser

__all__ = ["MODELS", "write_models"]

IMAGE: Final = "(float[1,4,6,6] x) => (float[a,b,c,d] y)"

#: Opset, signature, constants and nodes, and what stands behind the graph, by name.
MODELS: Final[dict[str, tuple[int, str, str, str]]] = {
    "resize10_nearest_smaller": (10, IMAGE, "<float[4] s = {1.0, 1.0, 0.5, 0.7}> { y = Resize (x, s) }", ""),
    "resize10_nearest_larger": (10, IMAGE, "<float[4] s = {1.0, 1.0, 2.0, 1.7}> { y = Resize (x, s) }", ""),
    "resize10_linear": (10, IMAGE, '<float[4] s = {1.0, 1.0, 2.0, 1.7}> { y = Resize <mode = "linear"> (x, s) }', ""),
    "upsample9_nearest": (9, IMAGE, "<float[4] s = {1.0, 1.0, 2.0, 1.7}> { y = Upsample (x, s) }", ""),
    "upsample9_linear": (9, IMAGE, '<float[4] s = {1.0, 1.0, 2.0, 3.0}> { y = Upsample <mode = "linear"> (x, s) }', ""),
    "upsample7": (7, IMAGE, "{ y = Upsample <scales = [1.0, 1.0, 2.0, 3.0]> (x) }", ""),
    "resize11_half_pixel_for_nn": (
        11,
        IMAGE,
        """<float[0] r = {}, float[4] s = {1.0, 1.0, 1.7, 0.6}> {
            y = Resize <mode = "nearest", nearest_mode = "floor", coordinate_transformation_mode = "tf_half_pixel_for_nn"> (x, r, s) }""",
        "",
    ),
    "softmax_of_a_matrix": (11, IMAGE, "{ y = Softmax (x) }", ""),
    "hardmax_of_a_matrix": (11, IMAGE, "{ y = Hardmax <axis = 2> (x) }", ""),
    "clip_of_one_bound": (10, IMAGE, "{ y = Clip <max = 0.5> (x) }", ""),
    "pad_of_a_value": (10, IMAGE, "{ y = Pad <pads = [0, 0, 1, 1, 0, 0, 2, 0], value = 1.5> (x) }", ""),
    "split_in_parts": (11, IMAGE, "{ y, z = Split <axis = 1, split = [1, 3]> (x) }", ""),
    "top_k": (9, IMAGE, "{ y, i = TopK <k = 2, axis = 1> (x) }", ""),
    "dropout_unused_mask": (9, IMAGE, "{ y, unused = Dropout (x) }", ""),
    "roi_align": (
        10,
        IMAGE,
        "<float[1,4] r = {0.0, 0.0, 3.3, 3.7}, int64[1] i = {0}> { y = RoiAlign <output_height = 2, output_width = 2> (x, r, i) }",
        "",
    ),
    "group_norm_of_groups": (
        18,
        IMAGE,
        "<float[2] s = {2.0, -1.0}, float[2] t = {0.0, 1.0}> { y = GroupNormalization <num_groups = 2> (x, s, t) }",
        "",
    ),
    "dft_default_axis": (17, "(float[1,4,6,1] x) => (float[a,b,c,d] y)", "{ y = DFT (x) }", ""),
    "scatter": (
        9,
        "(float[2,3] x) => (float[2,3] y)",
        "<int64[2,1] i = {0, 2}, float[2,1] u = {9.0, 8.0}> { y = Scatter <axis = 1> (x, i, u) }",
        "",
    ),
    "reduction_in_a_branch": (
        11,
        "(float[1,2] x) => (float[a] y)",
        """<bool c = {1}> { y = If (c) <
            then_branch = t () => (float[a] p) { p = ReduceMax <axes = [0], keepdims = 0> (x) },
            else_branch = f () => (float[a] q) { q = Squeeze <axes = [0]> (x) }> }""",
        "",
    ),
    "function_of_old_operators": (
        11,
        "(float[1,4,6,6] x) => (float[a,b,c] y)",
        "{ y = d.F (x) }",
        '<domain: "d", opset_import: ["" : 11]> F (u) => (w) { v = ReduceSum <axes = [0]> (u) w = Squeeze <axes = [0]> (v) }',
    ),
}


def write_models(folder: Path) -> list[Path]:
    """Write all models, and return their files."""
    written = []
    for name, (opset, signature, body, functions) in MODELS.items():
        imports = f'"" : {opset}' + (', "d" : 1' if functions else "")
        text = f"<ir_version: 8, opset_import: [{imports}]> {name} {signature} {body} {functions}"
        path = folder / f"{name}.onnx"
        onnx.save(onnx.parser.parse_model(text), path)
        written.append(path)
    return written
