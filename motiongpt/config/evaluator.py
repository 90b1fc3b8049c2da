"""The shape of an evaluator, and the loss it is trained with."""

from dataclasses import dataclass

from motiongpt.config.json_config import JSONConfig, flag, require

OBJECTIVES = ("info_nce", "contrastive")


@dataclass(frozen=True)
class EvaluatorConfig(JSONConfig):
    """An evaluator: the matching networks of text and motion, and the loss they are trained with."""

    feature_dim: int = 263
    contacts: int = 4  # columns at the end that the networks do not see: HumanML3D's foot contacts
    movement_width: int = flag(512, "channels of the movement convolutions")
    movement_dim: int = flag(512, "width of a movement, which is 4 frames")
    motion_width: int = flag(1024, "width of the motion GRU")
    text_width: int = flag(512, "width of the text GRU")
    embedding_dim: int = flag(512, "width of the embeddings that text and motion share")
    word_dim: int = flag(300, "width of a word vector; with --glove, the width in that file")
    max_frames: int = flag(196, "frames used from the start of a clip, a multiple of 4")
    feature_bias: float = flag(1.0, "factor that enlarges normalised root motion (published evaluators: 25)")
    objective: str = flag("info_nce", "training loss: info_nce, or contrastive (Guo et al. 2022)", choices=OBJECTIVES)
    margin: float = flag(10.0, "contrastive: distance beyond which a wrong pair costs nothing")
    temperature: float = flag(1.0, "info_nce: divisor of the distances")
    plain_captions: float = flag(0.25, "share of training captions shown without lemmas and parts of speech, 0 to 1")

    def __post_init__(self) -> None:
        for name in ("movement_width", "movement_dim", "motion_width", "text_width", "embedding_dim", "word_dim"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("feature_bias", "margin", "temperature"):
            require(getattr(self, name) > 0, name, getattr(self, name), "positive")
        require(0 <= self.contacts < self.feature_dim, "contacts", self.contacts, "fewer than feature_dim")
        require(self.max_frames >= 4 and self.max_frames % 4 == 0, "max_frames", self.max_frames, "a multiple of 4")
        require(self.objective in OBJECTIVES, "objective", self.objective, f"one of {', '.join(OBJECTIVES)}")
        require(0 <= self.plain_captions <= 1, "plain_captions", self.plain_captions, "in [0, 1]")
