"""Small members of well-known architectures with random weights, each with inputs and names of its dynamic axes.

Needs torch, torchvision, transformers and timm, which graphopt's extras do not bring: `pip install torch torchvision transformers
timm onnxscript` in an environment of its own. Nothing is downloaded but these packages.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

__all__ = ["ARCHITECTURES", "Built"]

_SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
_VOCABULARY = 100
_DECODERS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "gpt2": ("GPT2", {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    "gptneox": ("GPTNeoX", _SMALL),
    "llama": ("Llama", {**_SMALL, "num_key_value_heads": 2}),
    "mistral": ("Mistral", {**_SMALL, "num_key_value_heads": 2}),
    "phi": ("Phi", _SMALL),
    "qwen2": ("Qwen2", {**_SMALL, "num_key_value_heads": 2}),
}
_ENCODERS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "albert": ("Albert", {**_SMALL, "embedding_size": 32}),
    "bert": ("Bert", _SMALL),
    "deberta": ("DebertaV2", {**_SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    "electra": ("Electra", {**_SMALL, "embedding_size": 64}),
    "roberta": ("Roberta", _SMALL),
}
_VISION: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "clipvision": ("CLIPVision", {**_SMALL, "image_size": 64, "patch_size": 16}),
    "convnext": ("ConvNext", {"hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 2, 1]}),
    "deit": ("DeiT", {**_SMALL, "image_size": 64, "patch_size": 16}),
    "dinov2": ("Dinov2", {**_SMALL, "image_size": 64, "patch_size": 16}),
    "segformer": ("Segformer", {"hidden_sizes": [16, 32, 32, 64], "depths": [1, 1, 1, 1]}),
    "swin": ("Swin", {"image_size": 64, "embed_dim": 24, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}),
    "vit": ("ViT", {**_SMALL, "image_size": 64, "patch_size": 16}),
}
_TORCHVISION = (
    "densenet121",
    "efficientnet_b0",
    "mnasnet0_5",
    "mobilenet_v3_small",
    "regnet_y_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
)
_TIMM = {
    "edgenext_xx_small": 64,
    "efficientformerv2_s0": 224,
    "ghostnet_100": 64,
    "levit_128s": 224,
    "mobilevit_xxs": 64,
    "repvgg_a0": 64,
}


@dataclass(frozen=True)
class Built:
    """A module, example inputs by name, and the names of their dynamic axes by input and axis."""

    module: Any
    inputs: Mapping[str, Any]
    dynamic: Mapping[str, Mapping[int, str]]


def _module(name: str) -> Any:  # noqa: ANN401  packages without types that the project does not depend on
    return importlib.import_module(name)


def _language(family: str, options: Mapping[str, object], *, model: str, mask: bool) -> Built:
    torch, transformers = _module("torch"), _module("transformers")
    config = getattr(transformers, f"{family}Config")(vocab_size=_VOCABULARY, **options)
    if not mask:
        config.use_cache = False
    inputs = {"input_ids": torch.randint(0, _VOCABULARY - 10, (2, 9))}
    if mask:
        inputs["attention_mask"] = torch.ones(2, 9, dtype=torch.long)
    return Built(
        getattr(transformers, family + model)(config), inputs, {key: {0: "batch", 1: "sequence"} for key in inputs}
    )


def _images(module: Any, name: str, size: int) -> Built:  # noqa: ANN401  as above
    return Built(module, {name: _module("torch").randn(1, 3, size, size)}, {name: {0: "batch"}})


def _vision(family: str, options: Mapping[str, object]) -> Built:
    transformers = _module("transformers")
    config = getattr(transformers, f"{family}Config")(**options)
    return _images(getattr(transformers, f"{family}Model")(config), "pixel_values", 64)


def _torchvision(name: str) -> Built:
    return _images(getattr(_module("torchvision").models, name)(weights=None), "x", 64)


def _timm(name: str, size: int) -> Built:
    return _images(_module("timm").create_model(name, pretrained=False), "x", size)


#: What builds each architecture, by name.
ARCHITECTURES: Mapping[str, Callable[[], Built]] = {
    **{name: partial(_language, family, how, model="Model", mask=False) for name, (family, how) in _DECODERS.items()},
    **{name: partial(_language, family, how, model="Model", mask=True) for name, (family, how) in _ENCODERS.items()},
    **{name: partial(_vision, family, how) for name, (family, how) in _VISION.items()},
    **{name: partial(_torchvision, name) for name in _TORCHVISION},
    **{name: partial(_timm, name, size) for name, size in _TIMM.items()},
}
