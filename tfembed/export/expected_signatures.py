"""The signatures that an export has to have: names, inputs, outputs, dtypes, shapes."""

_SEARCH_OUTPUTS = {
    "ids": "string",
    "labels": "string",
    "scores": "float32",
    "vote": "string",
    "vote_probability": "float32",
    "known": "bool",
    "valid": "bool",
}
_EXAMPLES = ("ids", "embeddings")
_EMBED_OUTPUTS = {"embeddings": "float32", "valid": "bool"}


def expected_signatures(image_shape, dim):
    """Returns `{name: {"inputs": {name: (dtype, shape)}, "outputs": {name: dtype}}}`.

    Args:
        image_shape: `(height, width, channels)`.
        dim: Numbers of an embedding.
    """
    images = {"images": ("float32", [None, *image_shape])}
    image_bytes = {"image_bytes": ("string", [None])}
    embeddings = {"embeddings": ("float32", [None, dim])}
    lists = ("string", [None, None])
    names = ("allow_ids", "exclude_ids", "allow_labels", "exclude_labels")
    filters = dict.fromkeys(names, lists)
    lines = dict.fromkeys(names, ("string", [None]))
    examples = [f"{k}_{w}" for k in ("positive", "negative") for w in _EXAMPLES]
    signatures = {
        "embed": (images, _EMBED_OUTPUTS),
        "embed_bytes": (image_bytes, _EMBED_OUTPUTS),
        "search": (embeddings, _SEARCH_OUTPUTS),
        "search_images": (images, _SEARCH_OUTPUTS),
        "search_bytes": (image_bytes, _SEARCH_OUTPUTS),
        "serving_default": (image_bytes, _SEARCH_OUTPUTS),
        "search_filtered": ({**embeddings, **filters}, _SEARCH_OUTPUTS),
        "search_filtered_bytes": ({**image_bytes, **filters}, _SEARCH_OUTPUTS),
        "score": (
            {**embeddings, "ids": lists},
            {"scores": "float32", "found": "bool"},
        ),
        "search_filtered_lines": ({**embeddings, **lines}, _SEARCH_OUTPUTS),
        "search_filtered_bytes_lines": ({**image_bytes, **lines}, _SEARCH_OUTPUTS),
        "score_lines": (
            {**embeddings, "ids": ("string", [None])},
            {"lines": "string", "valid": "bool"},
        ),
        "query": (
            {
                **image_bytes,
                **embeddings,
                **dict.fromkeys(examples, ("string", [None])),
                **dict.fromkeys(("negative_weight", "min_score"), ("float32", [None])),
                "per_label": ("int32", [None]),
                **lines,
            },
            {**_SEARCH_OUTPUTS, "problem": "string"},
        ),
        "classify": (
            {"inputs": ("string", [None])},
            {"classes": "string", "scores": "float32"},
        ),
    }
    return {
        name: {"inputs": inputs, "outputs": outputs}
        for name, (inputs, outputs) in signatures.items()
    }
