"""Installation: lower bounds only. requirements.txt pins the versions that are tested."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "motiongpt" / "__init__.py").read_text(encoding="utf-8"))[1]

setup(
    name="motiongpt",
    version=VERSION,
    description="A language model that writes human motion, in plain PyTorch",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="motiongpt authors",
    license="MIT",
    packages=find_packages(include=["motiongpt", "motiongpt.*"]),
    package_data={"motiongpt": ["templates/*.json", "procedural/wordings/*.json", "render/web/*", "studio/web/*"]},
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.6",
        "numpy>=1.26",
        "safetensors>=0.4.3",
        "huggingface_hub>=0.25",
        "tokenizers>=0.20",
        "sentencepiece>=0.2",
        "h5py>=3.10",
        "smplx>=0.1.28",
        "matplotlib>=3.8",
        "tqdm>=4.66",
    ],
    extras_require={
        "viz": ["av>=12"],
        "eval": ["bert-score>=0.3.13"],
        "gguf": ["gguf>=0.16"],
        "log": ["tensorboard>=2.16"],
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.5",
            "transformers>=4.51",
            "peft>=0.17",
            "scipy>=1.11",
            "nltk>=3.8",
            "rouge-score>=0.1.2",
        ],
        "dev": ["ruff>=0.6"],
    },
)
