"""Every number that defines a run: nine frozen dataclasses, their presets, and JSON in both directions.

A config is only data: no paths, no devices, no repo ids. language_model: LLMConfig and LoRAConfig. motion_tokenizer:
VQVAEConfig. training: TrainConfig. evaluator: EvaluatorConfig. sampling: SampleConfig. reward: RewardConfig.
continuous: ContinuousConfig and FlowConfig. json_config: what they share.
"""

from motiongpt.config.continuous import ContinuousConfig, FlowConfig
from motiongpt.config.evaluator import EvaluatorConfig
from motiongpt.config.json_config import BadField, JSONConfig, fits, flag_name, require
from motiongpt.config.language_model import LAYER_TYPES, LLM_PRESETS, PROJECTIONS, LLMConfig, LoRAConfig
from motiongpt.config.motion_tokenizer import QUANTIZERS, VQVAEConfig, fsq_levels
from motiongpt.config.reward import RewardConfig
from motiongpt.config.sampling import SampleConfig
from motiongpt.config.training import VQVAE_TRAINING, TrainConfig

__all__ = [
    "LAYER_TYPES",
    "LLM_PRESETS",
    "PROJECTIONS",
    "QUANTIZERS",
    "VQVAE_TRAINING",
    "BadField",
    "ContinuousConfig",
    "EvaluatorConfig",
    "FlowConfig",
    "JSONConfig",
    "LLMConfig",
    "LoRAConfig",
    "RewardConfig",
    "SampleConfig",
    "TrainConfig",
    "VQVAEConfig",
    "fits",
    "flag_name",
    "fsq_levels",
    "require",
]
