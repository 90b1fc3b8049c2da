"""How codes are drawn."""

from dataclasses import dataclass

from motiongpt.config.json_config import JSONConfig, flag, require

PENALTY_SCOPES = ("all", "motion")


@dataclass(frozen=True)
class SampleConfig(JSONConfig):
    """How the next code is drawn. `sampling.py` states the order of the filters."""

    temperature: float = flag(0.7, "0 = always the most likely code; 1 = the model's own distribution")
    top_k: int = flag(0, "keep only the k most likely codes; 0 = all")
    top_p: float = flag(0.9, "keep the fewest codes with this much probability together, above 0 to 1")
    repetition_penalty: float = flag(1.0, "above 1: codes already written become less likely; 1 = off")
    penalty_scope: str = flag(
        "all", "what counts as written: prompt and output (all), or only the output (motion)", choices=PENALTY_SCOPES
    )
    no_repeat_ngram: int = flag(0, "never write the same n codes in a row twice; 0 = off (a walk cycle repeats)")
    end_logit_slope: float = flag(0.25, "added to the end's logit for every code past the target length")
    max_new_tokens: int = flag(256, "most new tokens per motion or sentence, without the two markers")

    def __post_init__(self) -> None:
        require(self.temperature >= 0, "temperature", self.temperature, "0 or more")
        require(self.top_k >= 0, "top_k", self.top_k, "0 or more")
        require(0 < self.top_p <= 1, "top_p", self.top_p, "in (0, 1]")
        require(self.repetition_penalty > 0, "repetition_penalty", self.repetition_penalty, "positive")
        scopes = ", ".join(PENALTY_SCOPES)
        require(self.penalty_scope in PENALTY_SCOPES, "penalty_scope", self.penalty_scope, f"one of {scopes}")
        require(self.no_repeat_ngram >= 0, "no_repeat_ngram", self.no_repeat_ngram, "0 or more")
        # beyond that a long motion overflows to NaN
        require(0 <= self.end_logit_slope <= 1e6, "end_logit_slope", self.end_logit_slope, "0 to 1000000")
        require(self.max_new_tokens >= 1, "max_new_tokens", self.max_new_tokens, "at least 1")
