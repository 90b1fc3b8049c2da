"""The settings of `scripts/finetune.py`: flags of all that a stage may train, and which of them are for what."""

from motiongpt.cli.hub_flags import add_hub_flags
from motiongpt.cli.machine_flags import add_machine_flags
from motiongpt.cli.opening import TOKENIZER_FLAGS
from motiongpt.cli.parser import VQVAE_FLAGS, WORDS_ONLY, Parser, add_config_flags
from motiongpt.cli.reward_flags import add_reward_flags
from motiongpt.cli.watch_flags import add_watch_flags
from motiongpt.config import LoRAConfig, TrainConfig, VQVAEConfig

# what the help says of values that a recipe may set
FIELDS = TrainConfig.__dataclass_fields__ | LoRAConfig.__dataclass_fields__
RECIPES_SET = "lr beta2 schedule batch_size grad_accum epochs max_steps warmup weight_decay clip seed max_seq_len "
RECIPES_SET += "eval_every caption_dropout plain_share tell_length lora_r lora_alpha lora_dropout"
DEFAULTS = {name: f"the recipe's, else {FIELDS[name].default}" for name in RECIPES_SET.split()}
DEFAULTS["lora_targets"] = f"the recipe's, else {' '.join(FIELDS['lora_targets'].default)}"

LORA = tuple(LoRAConfig.__dataclass_fields__)
LANGUAGE_ONLY = ("backbone", "tasks", "templates", "motion_as", "train", *TOKENIZER_FLAGS, "from", "dedup", "think",
                 "shard", *WORDS_ONLY, *LORA)  # fmt: skip
TOKENIZER_ONLY = (*(name for name in VQVAE_FLAGS if name != "codes"), "window")


def add_training_flags(parser: Parser) -> None:
    """Every field of the configs, and how a training is rewarded, kept on the Hub and watched."""
    add_config_flags(parser, LoRAConfig, defaults=DEFAULTS)
    add_config_flags(parser, TrainConfig, defaults=DEFAULTS)
    size = "that of tokens.meta.json, else the largest code + 1; 512 when a tokenizer is trained"
    add_config_flags(parser, VQVAEConfig, VQVAE_FLAGS, {"codes": size})
    add_reward_flags(parser)
    add_hub_flags(parser)
    add_watch_flags(parser)
    add_machine_flags(parser)
    shard = "for --train full on several devices (torchrun): each keeps a part of the weights, see docs/DEVICES.md"
    parser.add_argument("--shard", action="store_true", help=shard)
