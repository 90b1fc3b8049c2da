"""Streams of frames: together they are the motion that is decoded at once, and each comes as early as it can."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from cases import at_most, for_each, seeded

from motiongpt.body.skeletons import HUMANML3D, KIT, MYOSKELETON
from motiongpt.config import SampleConfig, VQVAEConfig
from motiongpt.features.normalizer import Normalizer
from motiongpt.features.representations import get_representation
from motiongpt.generation.streaming import FeatureStream, JointStream, StreamTiming, look_ahead_error, stream
from motiongpt.lengths import Limits
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.sampling import generate_steps
from motiongpt.vqvae import VQVAE, decoder_reach

CONFIG = VQVAEConfig(codes=32, code_dim=16, width=16, feature_bias=1.0)
KINDS = {
    "humanml3d": ("humanml3d", HUMANML3D),
    "kit": ("humanml3d", KIT),
    "positions": ("positions", MYOSKELETON),
    "smplx": ("smplx", HUMANML3D),
}


def make(kind: str = "humanml3d", **settings) -> MotionTokenizer:
    """A tiny tokenizer with random weights. Its motions turn and travel, as the steps of the root are not small."""
    name, skeleton = KINDS[kind]
    representation = get_representation(name, skeleton)
    torch.manual_seed(0)
    vqvae = VQVAE(replace(CONFIG, feature_dim=representation.dim, joint_dim=representation.joint_dim, **settings))
    vqvae.quantizer.codebook.normal_(0, 3)
    width = representation.dim
    return MotionTokenizer(
        vqvae,
        Normalizer(np.full(width, 0.01, np.float32), np.full(width, 0.1, np.float32)),
        skeleton,
        20.0,
        representation,
    )


def some_codes(S: int, seed: int = 1) -> list[int]:
    return torch.randint(0, CONFIG.codes, (S,), generator=seeded(seed)).tolist()


def whole(motion_tokenizer: MotionTokenizer, codes: list[int]) -> torch.Tensor:
    features = motion_tokenizer.decode_features([codes])[0]
    return motion_tokenizer.joints(features) if motion_tokenizer.representation.has_joints else features


# 1) The chunks together are the whole.


@for_each("kind", KINDS)
@for_each("causal", [False, True])
def test_chunks_together_are_the_whole_motion(kind, causal):
    motion_tokenizer = make(kind, causal=causal)
    for S in (1, 23, 50):
        codes = some_codes(S)
        got = torch.cat(list(stream(codes, motion_tokenizer, 0 if causal else None)))
        wanted = whole(motion_tokenizer, codes)
        # windows of other lengths sum in another order, and the root's place is a sum over up to 280 frames of such
        # steps, which are about 0.01; a KIT unit is a millimetre
        at_most(float((got - wanted).abs().max()), 2e-5 * max(1.0, float(wanted.abs().max())))


def test_a_motion_without_codes_has_no_frames():
    assert list(stream([], make())) == []


@for_each("sizes", [[1] * 60, [5, 1, 30, 0, 24], [60]])
def test_codes_may_come_several_at_a_time(sizes):
    motion_tokenizer, codes = make(), some_codes(60)
    features = FeatureStream(motion_tokenizer)
    rest = iter(codes)
    chunks = [features.push(list(itertools.islice(rest, size))) for size in sizes]
    assert [len(chunk) > 0 for chunk in chunks] == [sum(sizes[: i + 1]) > 22 and n > 0 for i, n in enumerate(sizes)]
    got = torch.cat([*chunks, features.finish()])
    wanted = motion_tokenizer.decode_features([codes])[0]
    at_most(float((got - wanted).abs().max()), 1e-5)  # fp32, another order of sums


def test_the_place_of_the_body_is_carried():
    """Against one decode of the whole: any cuts give the same joints, far from the start and after many turns."""
    motion_tokenizer = make()
    features = torch.randn(400, 263, generator=seeded(3)) * 0.1 + 0.02
    wanted = motion_tokenizer.joints(features)
    assert float(wanted[-1, 0, [0, 2]].norm()) > 0.2 and float(2 * features[:, 0].sum().abs()) > 6  # a whole turn
    for cuts in ([1] * 400, [7, 0, 193, 200], [400]):
        joints = JointStream(motion_tokenizer)
        got = torch.cat([joints.push(chunk) for chunk in features.split(cuts)])
        assert got.shape == wanted.shape and got.dtype == torch.float32
        at_most(float((got - wanted).abs().max()), 1e-4)  # float32 sums over 400 frames, of the whole


# 2) Each frame comes as early as it can, and from a window.


@for_each("look_ahead, waits", [(0, 0), (4, 4), (22, 22), (None, 22), (50, 22)])
def test_frames_wait_for_the_look_ahead_and_no_longer(look_ahead, waits):
    features = FeatureStream(make(), look_ahead)
    counts = [len(features.push([code])) for code in some_codes(40)]
    assert counts == [0] * waits + [4] * (40 - waits)
    assert len(features.finish()) == 4 * waits


def test_the_end_of_a_motion_is_not_guessed():
    """Codes that wait until the motion ends are decoded with its true end, whatever the look-ahead."""
    motion_tokenizer, codes = make(), some_codes(4)
    features = FeatureStream(motion_tokenizer, 5)
    got = torch.cat([*(features.push([code]) for code in codes), features.finish()])
    assert torch.equal(got, motion_tokenizer.decode_features([codes])[0])


def test_a_causal_stream_waits_for_nothing():
    features = FeatureStream(make(causal=True))
    assert [len(features.push([code])) for code in some_codes(9)] == [4] * 9 and len(features.finish()) == 0


@for_each("settings, longest", [({}, 45), ({"causal": True}, 45), ({"down": 1, "depth": 1}, None)])
def test_only_a_window_is_decoded(settings, longest, monkeypatch):
    motion_tokenizer = make(**settings)
    past, future = decoder_reach(motion_tokenizer.config)
    assert longest in (None, past + 1 + future)
    sizes, decode = [], motion_tokenizer.decode_features
    monkeypatch.setattr(motion_tokenizer, "decode_features", lambda rows: sizes.append(len(rows[0])) or decode(rows))
    list(stream(some_codes(past + future + 10), motion_tokenizer))
    assert max(sizes) == past + 1 + future


def test_less_look_ahead_costs_more():
    """Zero from the reach on, and falling until then."""
    motion_tokenizer = make()
    rows = [some_codes(30)]
    errors = [look_ahead_error(motion_tokenizer, rows, k) for k in (0, 8, 16, 22)]
    for before, after in itertools.pairwise(errors):
        assert after[0] < before[0] and after[1] < before[1]
    assert errors[-1][0] < 0.02 and errors[0][1] > 10  # mm; the first is rounding of sums of fp32


def test_what_a_stream_refuses():
    with pytest.raises(ValueError, match="--look-ahead must be 0 or more codes, got -1"):
        FeatureStream(make(), -1)
    with pytest.raises(ValueError, match="there are none"):
        look_ahead_error(make(), [[]], 3)
    with pytest.raises(ValueError, match="motion code 32 is outside"):
        list(stream([1, 32], make(), 0))
    with pytest.raises(ValueError, match="SMPL-X"):
        look_ahead_error(make("smplx"), [[1, 2]], 3)


# 3) While a language model writes.


def test_frames_go_out_while_the_model_writes(generator):
    """The frames of the first code are out when 23 codes are drawn, and all of them are those of `generate`."""
    run, written, seen = generator.run, [], []
    steps = generate_steps(
        run.llm,
        [run.renderer.text_prompt("a person walks forward", None)],
        begin_id=run.vocab.begin_id,
        codes=run.config.codes,
        limits=[Limits(40, 40, 40)],
        seeds=[3],
        config=SampleConfig(),
    )

    def codes():
        for (code,) in steps:
            if code >= 0:
                written.append(code)
                yield code

    past, future = decoder_reach(generator.motion_tokenizer.config)
    chunks = []
    for chunk in stream(codes(), generator.motion_tokenizer):
        chunks.append(chunk)
        seen.append(len(written))
    assert seen == [*range(future + 1, 41), 40]
    wanted = generator.motion_tokenizer.decode([written])[0]
    at_most(float(np.abs(torch.cat(chunks).numpy() - wanted).max()), 1e-4)  # float32 sums over 160 frames


def test_timing_counts_writing_and_decoding_but_not_the_receiver():
    now = [0.0]

    def codes():
        for code in some_codes(10):
            now[0] += 0.5  # a code takes half a second to write
            yield code

    timing = StreamTiming()
    for _ in stream(codes(), make(), 2, timing, clock=lambda: now[0]):
        now[0] += 100.0
    assert (timing.first, timing.seconds, timing.frames) == (1.5, 5.0, 40) and timing.frames_per_second == 8.0
    assert timing.line(20.0) == (
        "first frames after 1.50 s; 40 frames in 5.00 s, 8 frames/s (0.4 times as fast as they play)"
    )
