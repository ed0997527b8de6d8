"""Package metadata; what the tools read stands in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

ROOT = pathlib.Path(__file__).parent

VERSION = re.search(
    r'^__version__ = "(.+)"$',
    (ROOT / "tfembed" / "version.py").read_text(encoding="utf-8"),
    re.MULTILINE,
).group(1)

AUGMENT = ["keras-cv==0.9.*"]
# tensorflow-addons ends with TensorFlow 2.15. That TensorFlow needs protobuf 4,
# which the later tensorflow-metadata (a dependency of keras-cv and of
# tensorflow-similarity) cannot be imported with, though it does not say so.
ADDONS = [
    'tensorflow-addons==0.23.*; python_version < "3.12"',
    'tensorflow<2.16; python_version < "3.12"',
    'tensorflow-metadata<1.16; python_version < "3.12"',
    'pyarrow<26; python_version < "3.12"',  # later ones want NumPy 2
]
# tf-keras is the Keras 2 that tensorflow-similarity needs from TensorFlow 2.16 on.
SIMILARITY = ["tensorflow-similarity==0.17.*", "tf-keras>=2.15,<2.22"]
SERVING = [
    "tensorflow-serving-api>=2.15.1,<2.22",
    "grpcio",
    "matplotlib",
    "pillow",
    "prometheus-client",
    "requests",
    "waitress>=3",
    "werkzeug",
]
IMAGES = ["pillow"]  # reads the formats that TensorFlow does not
REPORT = ["jinja2", "matplotlib", "pillow", "scikit-learn"]
PARQUET = ["pyarrow"]
FAISS = ["faiss-cpu"]
TORCH_FILES = ["safetensors"]  # PyTorch's own .pth files need nothing
# Beam holds pillow, python-dateutil, pyarrow and protobuf below what the two locks
# have. So it is not in `all`; constraints/beam-*.txt are what differs with it.
BEAM = ['apache-beam>=2.77,<3; python_version >= "3.10"', *PARQUET]
DEV = [
    "hypothesis",
    "ipykernel",
    "jupytext",
    "nbclient",
    "packaging",
    "pillow",
    "pytest>=8",
    "pytest-xdist",
    "ruff",
    "scikit-learn",
    "selenium",
    "setuptools<81",
    "wheel",
]

setup(
    name="tfembed",
    version=VERSION,
    description=(
        "Image embeddings in TensorFlow: train with plain Keras, measure, export "
        "encoder and gallery as one SavedModel, serve it with TF Serving."
    ),
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords="tensorflow keras metric-learning embeddings instance-discrimination knn",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.9",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Recognition",
    ],
    packages=find_packages(include=["tfembed*"]),
    package_data={
        "": ["*.pyi"],
        "tfembed": ["py.typed"],
        "tfembed.dedup": ["page/*"],
        "tfembed.report": ["page/*"],
        "tfembed.serving": ["page/*"],
    },
    python_requires=">=3.9",
    # TensorFlow 2.21 writes TensorBoard's logs only where tensorboard is installed;
    # the ones before bring it themselves.
    install_requires=["tensorflow>=2.15.1,<2.22", "tensorboard>=2.15", "numpy"],
    extras_require={
        "augment": AUGMENT,
        "addons": ADDONS,
        "similarity": SIMILARITY,
        "images": IMAGES,
        "serving": SERVING,
        "report": REPORT,
        "parquet": PARQUET,
        "faiss": FAISS,
        "torch-files": TORCH_FILES,
        "beam": BEAM,
        "dev": DEV,
        "all": AUGMENT
        + ADDONS
        + SIMILARITY
        + SERVING
        + REPORT
        + PARQUET
        + FAISS
        + TORCH_FILES,
    },
    zip_safe=False,
)
