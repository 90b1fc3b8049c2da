"""motiongpt: a language model that writes human motion, in plain PyTorch.

    from motiongpt import MotionGenerator
    motion = MotionGenerator.load("checkpoints/demo").generate("a person walks forward", seed=0)
    motion.save("walk.gif")

Shape letters, the same everywhere: B batch, F frames, S code steps (F / 4), T tokens, J joints, D feature width,
C model width, H query heads, K key/value heads, d head width, V vocabulary, N codebook entries. Motion is always
(B, F, D). Masks are bool, and True means real. Units are metres, seconds and radians; y is up, and the first frame
faces +z.

Importing this package is light: a name's module is imported when the name is first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_WHERE = {
    "MotionGenerator": "motiongpt.generator",
    "Motion": "motiongpt.motion",
    "MotionTokenizer": "motiongpt.motion_tokenizer",
    "LLM": "motiongpt.llm",
    "VQVAE": "motiongpt.vqvae",
    "LLMConfig": "motiongpt.config",
    "LoRAConfig": "motiongpt.config",
    "VQVAEConfig": "motiongpt.config",
    "TrainConfig": "motiongpt.config",
    "SampleConfig": "motiongpt.config",
}
__all__ = [*_WHERE, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'motiongpt' has no attribute {name!r}")
