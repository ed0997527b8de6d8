"""`tfembed.data` as type checkers see it: by docs/write_stubs.py."""

from tfembed.data.augmentation import Augmentation as Augmentation
from tfembed.data.balanced import class_balanced as class_balanced
from tfembed.data.fast_augmentation import FastAugmentation as FastAugmentation
from tfembed.data.image_data import ImageData as ImageData
from tfembed.data.image_stream import decode_or_reason as decode_or_reason
from tfembed.data.load import load_images as load_images
from tfembed.data.source_images import SourceImages as SourceImages
from tfembed.data.sources import SOURCES as SOURCES
from tfembed.data.sources import check_source as check_source
from tfembed.data.sources import folder_of as folder_of
from tfembed.data.sources import source_names as source_names
from tfembed.data.split import Split as Split
from tfembed.formats.embeddings import EmbeddingFiles as EmbeddingFiles
from tfembed.formats.embeddings import Embeddings as Embeddings
from tfembed.formats.embeddings import read_embeddings as read_embeddings

__all__ = [
    "Augmentation",
    "EmbeddingFiles",
    "Embeddings",
    "FastAugmentation",
    "ImageData",
    "SOURCES",
    "SourceImages",
    "Split",
    "check_source",
    "class_balanced",
    "decode_or_reason",
    "folder_of",
    "load_images",
    "read_embeddings",
    "source_names",
]
