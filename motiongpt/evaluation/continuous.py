"""Text to motion with a continuous model, measured by the rules of `protocol`, as `t2m_m2t` measures one of tokens.

The table has the rows real, model and chance. There is no motion tokenizer, so there is no reconstruction, and nothing
about codes. With the same data, split, evaluator and seed the numbers stand beside those of a token model.
"""

import numpy as np
import torch
from tqdm import tqdm

from motiongpt.continuous.generator import ContinuousGenerator
from motiongpt.data.motions import MotionDataset
from motiongpt.evaluation.evaluators import Evaluator
from motiongpt.evaluation.model_answers import MULTIMODALITY, T2MOptions
from motiongpt.evaluation.protocol import Evaluation, EvaluationSet, ProtocolConfig, TableRow
from motiongpt.metrics.embeddings import multimodality
from motiongpt.motion_tokenizer import check_same_motion


def continuous_facts(generator: ContinuousGenerator, policy: str) -> dict:
    """The protocol's entries about a continuous model."""
    config = generator.run.config
    kind = f"continuous model, {config.head} head, text by {config.text_encoder} ({config.condition})"
    sampling = generator.how.to_dict() if config.head == "flow" else {}
    return {"model": kind, "model_hash": generator.run.hash, "sampling": sampling, "length_policy": policy}


def evaluate_continuous(
    data: MotionDataset,
    evaluator: Evaluator,
    generator: ContinuousGenerator,
    protocol: ProtocolConfig,
    options: T2MOptions,
) -> Evaluation:
    """Measure text to motion; of the options the length policy and the texts of MultiModality count.

    Row i of a repeat has the seed protocol.seed + repeat * N + i. Only the flow head draws anything: the others write
    the same motion whatever the seed, so they have no MultiModality.

    Raises ValueError if data, model and evaluator do not fit together, or fewer than two clips are usable.
    """
    check_same_motion(generator.run, data, "model")
    policy = options.length_policy
    s = EvaluationSet("t2m", data, evaluator, None, protocol, continuous_facts(generator, policy))
    limit = min(s.protocol["max_frames"], generator.run.config.max_frames)

    def write(sentences: list[str], first_seed: int, clips: list[int]) -> list[torch.Tensor]:
        """Features of a motion for each sentence, cut to what is compared; `clips` says which clip it describes."""
        sizes = [len(s.features[i]) for i in clips]
        lengths = [min(size, limit) for size in sizes] if policy == "gt" else None
        motions = generator.features(sentences, range(first_seed, first_seed + len(sentences)), lengths)
        most = sizes if policy == "cut" else [limit] * len(sizes)
        return [motion[:size] for motion, size in zip(motions, most, strict=True)]

    # 1) once: 30 motions each of some captions
    several = None
    if options.multimodality_texts and generator.run.config.head == "flow":
        chosen = np.random.default_rng([protocol.seed, 0, 3]).permutation(s.N)[: options.multimodality_texts]
        clips = np.repeat(chosen, MULTIMODALITY[1]).tolist()
        asked = [s.items[i].captions[0].text.strip() for i in clips]
        motions = write(asked, protocol.seed + protocol.repeats * s.N, clips)
        several = s.embed(motions).unflatten(0, (-1, MULTIMODALITY[1]))
        s.protocol["multimodality"] = [*several.shape[:2], MULTIMODALITY[2]]

    # 2) the rows, repeat by repeat
    rows = {name: TableRow() for name in ("real", "model", "chance")}
    embeddings = {"real": s.motion}
    own = s.qualities(s.features)
    first: tuple[list[str], list[torch.Tensor]] = ([], [])
    for repeat in tqdm(range(protocol.repeats), unit="repeat", disable=None):
        captions, text = s.draws.captions(repeat)
        sentences = [caption.text.strip() for caption in captions]
        motions = write(sentences, protocol.seed + repeat * s.N, list(range(s.N)))
        written = s.embed(motions)
        real_cut = None
        if policy == "cut":
            real_cut = s.embed([x[: len(y)] for x, y in zip(s.features, motions, strict=True)])
        rows["real"].add_matching(text, s.motion, s.draws.rng(repeat))
        rows["real"].add(own, fid=0.0)
        rows["model"].add_matching(text, written, s.draws.rng(repeat))
        spread = None if several is None else multimodality(several, s.draws.rng(repeat), MULTIMODALITY[2])
        away = [abs(len(motion) / len(real) - 1) for motion, real in zip(motions, s.features, strict=True)]
        rows["model"].add(s.qualities(motions), fid=s.fid(written, real_cut), multimodality=spread)
        rows["model"].add({"length_away": np.array(away)})
        rows["chance"].add_matching(text, s.motion[s.draws.chance(repeat)], s.draws.rng(repeat))
        if repeat == 0:
            first = sentences, motions
            embeddings |= {"text": text, "model": written} | ({"real_cut": real_cut} if policy == "cut" else {})

    # 3) the report, with the sentences and motions of the first repeat
    report, shown = s.report(rows, {"asked": first[0]}, {})
    return Evaluation(report, embeddings, {rank: torch.as_tensor(first[1][i]) for rank, i in shown.items()})
