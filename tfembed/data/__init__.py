"""Images by name, `tf.data` pipelines, augmentation; embeddings on disk.

Importing this room imports no TensorFlow, keras-cv, tensorflow-datasets or Pillow:
each is imported when it is first used.
"""

from tfembed.lazy_names import lazy_names

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "Augmentation": "augmentation",
        "EmbeddingFiles": "tfembed.formats.embeddings",
        "Embeddings": "tfembed.formats.embeddings",
        "FastAugmentation": "fast_augmentation",
        "ImageData": "image_data",
        "SOURCES": "sources",
        "SourceImages": "source_images",
        "Split": "split",
        "check_source": "sources",
        "class_balanced": "balanced",
        "decode_or_reason": "image_stream",
        "folder_of": "sources",
        "load_images": "load",
        "read_embeddings": "tfembed.formats.embeddings",
        "source_names": "sources",
    },
)
