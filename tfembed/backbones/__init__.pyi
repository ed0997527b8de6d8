"""`tfembed.backbones` as type checkers see it: by docs/write_stubs.py."""

from tfembed.backbones.build import build_backbone as build_backbone
from tfembed.backbones.encoder import Encoder as Encoder
from tfembed.backbones.named import backbone_resize as backbone_resize
from tfembed.backbones.named import backbone_shape as backbone_shape
from tfembed.backbones.named import check_encoder as check_encoder
from tfembed.backbones.named import is_backbone as is_backbone
from tfembed.backbones.named import open_encoder as open_encoder
from tfembed.backbones.names import BACKBONES as BACKBONES
from tfembed.backbones.names import POOLS as POOLS
from tfembed.backbones.names import check_backbone as check_backbone
from tfembed.backbones.names import is_foreign as is_foreign
from tfembed.backbones.weights import Weights as Weights
from tfembed.backbones.weights import find_weights as find_weights

__all__ = [
    "BACKBONES",
    "Encoder",
    "POOLS",
    "Weights",
    "backbone_resize",
    "backbone_shape",
    "build_backbone",
    "check_backbone",
    "check_encoder",
    "find_weights",
    "is_backbone",
    "is_foreign",
    "open_encoder",
]
