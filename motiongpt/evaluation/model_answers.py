"""How a language model is asked for motions and sentences, and the options for it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field

from tqdm import tqdm

from motiongpt.config import SampleConfig
from motiongpt.data.batches import by_length
from motiongpt.files.hashes import short_hash
from motiongpt.generator import DESCRIBE, MotionGenerator
from motiongpt.stages.model import LoadedRun
from motiongpt.stages.run_folder import stage_folder
from motiongpt.weights.shards import weights_hash

LENGTH_POLICIES = {
    "own": "the model ends its motions itself",
    "gt": "the length of the real motion is demanded",
    "cut": "the model ends its motions itself; they and the real ones they are compared with are cut to the shorter",
}
MULTIMODALITY = (100, 30, 10)  # texts, motions of each, pairs of each (Guo et al. 2022)


@dataclass(frozen=True)
class T2MOptions:
    """How the model writes motions.

    length_policy: key of LENGTH_POLICIES, who decides how long a motion is.
    multimodality_texts: MultiModality needs 30 motions of each of so many texts; 0 leaves it out.
    perplexity: of "all" finished stages, of the "stage" alone, or "none".
    batch_size: motions written at a time; it does not change them.
    """

    sampling: SampleConfig = field(default_factory=SampleConfig)
    length_policy: str = "own"
    multimodality_texts: int = MULTIMODALITY[0]
    perplexity: str = "all"
    batch_size: int = 32

    def __post_init__(self) -> None:
        if self.length_policy not in LENGTH_POLICIES:
            names = ", ".join(LENGTH_POLICIES)
            raise ValueError(f"the length policy is one of {names}, got {self.length_policy!r}")


@dataclass(frozen=True)
class M2TOptions:
    """How the model describes motions; greedy by default. `bert_model` names the model of
    BERTScore; None leaves BERTScore out."""

    sampling: SampleConfig = DESCRIBE
    bert_model: str | None = None
    perplexity: str = "all"
    batch_size: int = 32


def in_batches(sizes: Sequence[int], batch_size: int, write: Callable[[list[int]], list]) -> list:
    """Call `write` on batches of indices of similar size, and put its results back in order."""
    out: list = [None] * len(sizes)
    for batch in tqdm(by_length(sizes, batch_size), unit="batch", disable=None, leave=False):
        indices = batch.tolist()
        for i, value in zip(indices, write(indices), strict=True):
            out[i] = value
    return out


def write_motions(
    generator: MotionGenerator,
    texts: Sequence[str | None],
    first_seed: int,
    lengths: Sequence[int] | None,
    config: SampleConfig,
    batch_size: int,
    participants: Sequence[str | None] | None = None,
    task: str = "t2m",
    given: Sequence[Mapping[int, int]] | None = None,
) -> list[list[int]]:
    """Codes of a motion for each text; row i has the seed first_seed + i.
    `lengths`, in codes, are kept exactly.

    `participants`: whose style each motion has; None: nobody's. `task` and `given`, position ->
    code for each text, are those of `MotionGenerator.generate`; it says where a text may be None.
    Texts are not read as plain captions: a refused one would have no motion to be measured.
    """
    # the sampler is asked in seconds
    seconds_per_code = generator.run.config.seconds_per_code
    # only to batch motions of similar length; the model decides how long they are
    sizes = lengths or [generator.run.prompts.expected_length(text or "") for text in texts]

    def write(indices: list[int]) -> list[list[int]]:
        motions = generator.generate(
            [texts[i] for i in indices],
            [participants[i] for i in indices] if participants else None,
            seed=[first_seed + i for i in indices],
            seconds=[lengths[i] * seconds_per_code for i in indices] if lengths else None,
            exact_length=lengths is not None,
            task=task,
            given=[given[i] for i in indices] if given else None,
            read=False,
            config=config,
        )
        return [list(motion.tokens) for motion in motions]

    return in_batches(sizes, batch_size, write)


def describe_motions(
    generator: MotionGenerator, codes: Sequence[Sequence[int]], first_seed: int, options: M2TOptions
) -> list[str]:
    """A sentence for each row of codes; row i has the seed first_seed + i."""

    def write(indices: list[int]) -> list[str]:
        rows = [codes[i] for i in indices]
        return generator.describe_all(rows, seeds=[first_seed + i for i in indices], config=options.sampling)

    return in_batches([len(row) for row in codes], options.batch_size, write)


def run_hash(run: LoadedRun) -> str:
    """16 hex digits of the weights a stage samples with:
    its own, and the base an adapter sits on."""
    stage = weights_hash(stage_folder(run.folder, run.stage))
    return short_hash([f"{stage}/{run.meta.get('base_hash', '')}".encode()])


def run_facts(run: LoadedRun, sampling: SampleConfig) -> dict:
    """The protocol's entries about a language model."""
    return {"run": run.config.recipe, "stage": run.stage, "run_hash": run_hash(run), "sampling": asdict(sampling)}
