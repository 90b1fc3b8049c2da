"""The reward stage: its formulas in closed form, its gradient against one computed code by code, and its promises."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases import for_each, seeded
from naive_sampler import Row, motions

from motiongpt.backbones.t5 import T5, T5Config
from motiongpt.cli.reward_stage import _check_evaluator
from motiongpt.config import LLMConfig, LoRAConfig, RewardConfig, SampleConfig, TrainConfig
from motiongpt.faithfulness.conditions import CHECKS
from motiongpt.faithfulness.fresh import fresh_clips
from motiongpt.faithfulness.plain_requests import caption_of, part_of
from motiongpt.faithfulness.rewards import (
    is_left_out,
    joint_scores,
    known_wants,
    left_out,
    match_shares,
)
from motiongpt.faithfulness.wants import Step, Want, plain_want
from motiongpt.files.store import read_json, read_tensors, write_json
from motiongpt.lengths import Limits
from motiongpt.llm import LLM
from motiongpt.loops import train
from motiongpt.lora import adapter_state, inject
from motiongpt.procedural.sentences import family
from motiongpt.sampling import generate
from motiongpt.stages.language import prepare_stage
from motiongpt.stages.plan import Job
from motiongpt.stages.reward import (
    SPREAD,
    Ask,
    Draws,
    Policy,
    RewardLoop,
    advantages,
    kl_estimate,
    log_probs,
    policy_loss,
)
from motiongpt.stages.run_folder import stage_folder
from motiongpt.tasks.prompts import Request

N, BEGIN = 4, 10  # codes, id of <MOT_BEGIN>
SAMPLE = SampleConfig(temperature=0.7, top_p=1.0, end_logit_slope=0.5)


def small_llm(seed: int = 0) -> LLM:
    shape = dict(vocab_size=BEGIN, hidden_size=16, intermediate_size=24, num_layers=2, num_heads=2, num_kv_heads=1)
    llm = LLM(LLMConfig(**shape, head_dim=8, max_positions=64), seeded(seed))
    llm.extend(BEGIN, N + 2, seeded(seed + 1))
    with torch.no_grad():
        llm.new_in *= 20  # so that the distribution is not flat
    return llm.eval()


def ask(ids: Sequence[int], limits: Limits, codes: Sequence[int] = range(N)) -> Ask:
    allowed = torch.zeros(N, dtype=torch.bool)
    allowed[list(codes)] = True
    return Ask("walk", plain_want(("walk_forward",)), tuple(ids), limits, allowed)


ASKS = [ask((1, 2, 3), Limits(1, 2, 3)), ask((4,), Limits(2, 2, 4), (0, 2)), ask((5, 6, 7, 8), Limits(1, 1, 1))]


def logits_of(llm: LLM, one: Ask, codes: Sequence[int]) -> torch.Tensor:
    """Logits of the motion span after these codes: one row, no cache, no padding."""
    ids = torch.tensor([[*one.ids, BEGIN, *(BEGIN + 2 + code for code in codes)]])
    return llm.logits(llm.hidden(ids)[:, -1], (BEGIN, BEGIN + 2 + N))[0]


# 1) The formulas.


def test_advantages_in_closed_form():
    found = advantages(torch.tensor([[0.0, 1.0], [3.0, 5.0], [0.1, 0.1]]))
    half, one = 0.5 / (0.5 + SPREAD), 1 / (1 + SPREAD)
    torch.testing.assert_close(found, torch.tensor([[-half, half], [-one, one], [0.0, 0.0]]))
    # three of a group: mean 2, standard deviation sqrt(2 / 3)
    row = advantages(torch.tensor([[1.0, 2.0, 3.0]]))[0].tolist()
    assert row == pytest.approx([-1 / (math.sqrt(2 / 3) + SPREAD), 0, 1 / (math.sqrt(2 / 3) + SPREAD)])


@for_each("value", [0.1, 1.3, -0.7, 0.0])
def test_a_group_of_equal_rewards_gives_exactly_nothing(value):
    assert advantages(torch.full((3, 7), value)).abs().max() == 0.0


def test_the_estimate_of_kl_is_right_on_average_and_never_negative():
    p, q = (torch.randn(6, generator=seeded(i)).log_softmax(0) for i in range(2))
    k3 = kl_estimate(p, q)
    assert (k3 >= 0).all() and float((p.exp() * k3).sum()) == pytest.approx(float((p.exp() * (p - q)).sum()), abs=1e-6)
    assert kl_estimate(p, p).abs().max() == 0.0


@for_each(
    "log_ratio, advantage, slope",
    [
        (0.0, 2.0, -2.0),  # on the policy that drew: minus the advantage
        (0.1, 2.0, -2.0 * math.exp(0.1)),  # inside 1 +- 0.2
        (0.5, 2.0, 0.0),  # better and already likelier: no more
        (-0.5, -2.0, 0.0),  # worse and already less likely: no less
        (0.5, -2.0, 2.0 * math.exp(0.5)),  # went the wrong way: always corrected
        (-0.5, 2.0, -2.0 * math.exp(-0.5)),
    ],
)
def test_the_slope_of_the_loss(log_ratio, advantage, slope):
    config = RewardConfig(kl_weight=0.3, clip_ratio=0.2)
    log_p = torch.tensor([-1.0 + log_ratio], requires_grad=True)
    reference = torch.tensor([-1.4])
    policy_loss(log_p, torch.tensor([-1.0]), reference, torch.tensor([advantage]), config).sum().backward()
    # d/dx of exp(r - x) - (r - x) - 1 is 1 - exp(r - x)
    pull = 0.3 * (1 - math.exp(-1.4 - float(log_p.detach())))
    assert float(log_p.grad) == pytest.approx(slope + pull, abs=1e-5)


# 2) Probabilities are those of the draw.


@pytest.mark.parametrize("number", range(len(ASKS)))
def test_probabilities_are_those_that_the_sampler_draws_from(number):
    """Against the naive sampler, which lists every motion that may be written with its probability."""
    llm, one = small_llm(), ASKS[number]
    allowed = set(one.allowed.nonzero()[:, 0].tolist())
    with torch.no_grad():
        every = motions(lambda codes: logits_of(llm, one, codes).tolist(), Row(SAMPLE, one.limits, allowed))
        rows = [list(row) for row in every]
        log_p, row = log_probs(llm, [one] * len(rows), rows, BEGIN, SAMPLE)
    total = torch.zeros(len(rows)).index_add_(0, row, log_p).exp()
    torch.testing.assert_close(total, torch.tensor(list(every.values())), atol=1e-5, rtol=1e-4)
    assert float(total.sum()) == pytest.approx(1.0, abs=1e-4) and row.bincount().tolist() == [len(r) + 1 for r in rows]


def test_probabilities_of_an_encoder_decoder():
    """Its instruction ends with </s>, id 1, and the answer begins in the decoder."""
    shape = dict(vocab_size=BEGIN, hidden_size=16, intermediate_size=24, num_layers=2, num_decoder_layers=2)
    llm = T5(T5Config(**shape, num_heads=2, head_dim=8)).eval()
    llm.extend(BEGIN, N + 2, seeded(1))
    asks = [ask((4, 5, 1), Limits(1, 2, 3)), ask((7, 1), Limits(1, 1, 2))]
    with torch.no_grad():
        for one in asks:
            every = motions(lambda codes: logits_of(llm, one, codes).tolist(), Row(SAMPLE, one.limits, set(range(N))))  # noqa: B023
            log_p, row = log_probs(llm, [one] * len(every), list(every), BEGIN, SAMPLE)
            total = torch.zeros(len(every)).index_add_(0, row, log_p).exp()
            torch.testing.assert_close(total, torch.tensor(list(every.values())), atol=1e-5, rtol=1e-4)


def test_the_sampler_draws_as_often_as_the_probabilities_say():
    llm, one = small_llm(), ASKS[0]
    draw = dict(begin_id=BEGIN, codes=N, limits=[one.limits] * 2000, seeds=range(2000), config=SAMPLE)
    rows = generate(llm, [one.ids] * 2000, **draw)
    counts = {row: rows.count(list(row)) / 2000 for row in set(map(tuple, rows))}
    likely = sorted(counts, key=counts.get)[-3:]
    with torch.no_grad():
        log_p, row = log_probs(llm, [one] * 3, likely, BEGIN, SAMPLE)
    expected = torch.zeros(3).index_add_(0, row, log_p).exp().tolist()
    assert [counts[row] for row in likely] == pytest.approx(expected, abs=0.04)  # four standard errors


def test_the_gradient_is_that_of_a_naive_policy_gradient():
    """GRPO on the policy that drew is REINFORCE with the group's advantages: here code by code, in plain Python."""
    llm = small_llm()
    inject(llm, LoRAConfig(lora_r=2, lora_alpha=2.0, lora_targets=("q_proj", "v_proj")), seeded(3))
    for layer in llm.layers:
        torch.nn.init.normal_(layer.self_attn.q_proj.lora_B, std=0.3, generator=seeded(4))
    rows = [[0, 1], [2, 0, 2], [3]]
    advantage = torch.tensor([0.8, -1.1, 0.3])
    # ours
    log_p, row = log_probs(llm, ASKS, rows, BEGIN, SAMPLE)
    losses = policy_loss(log_p, log_p.detach(), log_p.detach(), advantage[row], RewardConfig())
    (losses / torch.tensor([3.0, 4.0, 2.0])[row]).sum().backward()
    parameters = [p for p in llm.parameters() if p.requires_grad]
    found = [p.grad.clone() for p in parameters]
    llm.zero_grad()
    # naive
    for one, codes, gain in zip(ASKS, rows, advantage.tolist(), strict=True):
        for t in range(len(codes) + 1):
            logits, limits = logits_of(llm, one, codes[:t]), one.limits
            scores = []
            for column in range(N + 2):
                logit = logits[column] + SAMPLE.end_logit_slope * max(0, t - limits.target) * (column == 1)
                may = t >= limits.hard_min if column == 1 else column > 1 and bool(one.allowed[column - 2])
                may = may and (column == 1 or t < limits.hard_max)
                scores.append(logit / SAMPLE.temperature if may else torch.tensor(-math.inf))
            chosen = codes[t] + 2 if t < len(codes) else 1
            log = torch.stack(scores).log_softmax(0)[chosen]
            (-gain * log / (len(codes) + 1)).backward(retain_graph=False)
    for grad, parameter in zip(found, parameters, strict=True):
        torch.testing.assert_close(grad, parameter.grad, atol=1e-5, rtol=1e-3)
    assert max(float(grad.abs().max()) for grad in found) > 1e-4


# 3) The module and its batches.


def test_only_adapters_learn_and_the_model_before_comes_back_exactly():
    llm = small_llm()
    inject(llm, LoRAConfig(lora_r=2, lora_alpha=2.0, lora_targets=("q_proj", "v_proj")), seeded(3))
    policy = Policy(llm, 1, 2, 3)
    assert {name for name, p in llm.named_parameters() if p.requires_grad} == set(adapter_state(llm))
    assert not policy.train().training and not llm.training
    with torch.no_grad():
        for value in adapter_state(llm).values():
            value += 0.5
        now = {name: value.clone() for name, value in adapter_state(llm).items()}
        moved, _ = log_probs(llm, ASKS[:1], [[0, 1]], BEGIN, SAMPLE)
    with pytest.raises(KeyError), policy.as_before():
        before, _ = log_probs(llm, ASKS[:1], [[0, 1]], BEGIN, SAMPLE)
        raise KeyError
    assert all(torch.equal(now[name], value) for name, value in adapter_state(llm).items())
    start = small_llm()  # lora_B began at zero: the model before is the base
    with torch.no_grad():
        expected, _ = log_probs(start, ASKS[:1], [[0, 1]], BEGIN, SAMPLE)
    torch.testing.assert_close(before, expected)
    assert not torch.allclose(moved, expected, atol=1e-3)


def test_a_batch_is_a_function_of_the_step():
    draws = Draws(asks=5, rows=6, group=2, parts=2, inner=3, seed=1)
    assert draws(7) == draws(7) and draws(7)["asks"] != draws(6)["asks"]
    # steps 0 to 2 use the motions of step 0, each part its own; step 3 draws anew
    assert [draws(m)["fresh"] for m in range(8)] == [True, True, False, False, False, False, True, True]
    assert draws(0)["seeds"] == draws(2)["seeds"] == draws(4)["seeds"] != draws(6)["seeds"]
    for m in range(8):
        asks = draws(m)["asks"]
        assert asks[::2] == asks[1::2] and len(set(asks)) == 3 and len(set(draws(m)["seeds"])) == 6


# 4) A stage.


def reward_low_codes(asks, rows):
    """The share of the codes 0 to 9 of 32."""
    values = torch.tensor([np.mean([code < 10 for code in codes]) for codes in rows], dtype=torch.float32)
    return values, {"share": float(values.mean())}


def reward_stage(
    tiny, out: Path, reward: Callable = reward_low_codes, killed_after: int | None = None, **changes
) -> tuple[Path, RewardLoop, list[float]]:
    """Train stage 4 from the tiny run's stage 1: its folder, the loop, and the rewards it saw."""
    settings = {"lr": 3e-2, "max_steps": 3, "batch_size": 16, "eval_every": 50, "save_every": 1, "warmup": 0.0}
    settings["schedule"] = "constant"
    rewards = {"group_size": 8, "kl_weight": 0.0}
    for name, value in changes.items():
        (rewards if name in RewardConfig.__dataclass_fields__ else settings)[name] = value
    job = Job(
        number=4, name="reward", tasks={"t2m": 1.0}, recipe="signmotiongpt", out=out, train_mode="lora",
        data=tiny.data, backbone=str(tiny.backbone), vqvae=None, foreign={}, source=tiny.run / "stage1", codes=None,
        dedup=False, think="auto", fresh=False, resume=False, config=TrainConfig(**settings),
        lora=LoRAConfig(lora_r=4, lora_alpha=4.0),
    )  # fmt: skip
    device = torch.device("cpu")
    prepared = prepare_stage(job, device, lambda line: None)
    limits, allowed = Limits(4, 6, 8), torch.ones(32, dtype=torch.bool)
    renderer = prepared.data.held_out.renderer
    asks = [
        Ask(text, plain_want(("walk_forward",)), tuple(renderer.request(Request("t2m", text))), limits, allowed)
        for text in ("a person walks forward", "someone waves", "he sits down")
    ]
    seen = []

    def noted(asks, rows):
        values, numbers = reward(asks, rows)
        seen.append(float(values.mean()))
        return values, numbers

    loop = RewardLoop(prepared, asks, noted, lambda: {"loss": 1 - seen[-1]}, RewardConfig(**rewards), {})
    calls = 0

    def loss(batch):
        nonlocal calls
        if calls == killed_after:
            raise KeyboardInterrupt
        calls += 1
        return loop.loss(batch)

    folder = stage_folder(out, 4)
    result = train(
        loop.model, loop.batches, loss, job.config, folder, device=device, validate=loop.validate,
        export=loop.export, fingerprint=loop.fingerprint, log=lambda line: None,
    )  # fmt: skip
    prepared.finish(result)
    return folder, loop, seen


def test_a_reward_rises(tiny, tmp_path):
    """A third of the codes is low by chance. The tiny model's words are so short that no adapter can do much more."""
    standing = np.mean(reward_stage(tiny, tmp_path / "still", max_steps=8, lr=1e-12)[2])
    folder, _, seen = reward_stage(tiny, tmp_path / "run", max_steps=30, save_every=50)
    assert np.mean(seen[-10:]) > standing + 0.1, (standing, seen)
    meta = read_json(folder / "meta.json")
    assert meta["finished"] and set(meta["tasks"]) == {"t2m", "motion"}  # stage 1 learnt motion


def test_the_distance_from_the_model_before_holds_it_back(tiny, tmp_path):
    free = reward_stage(tiny, tmp_path / "free", max_steps=12)[2]
    held = reward_stage(tiny, tmp_path / "held", max_steps=12, kl_weight=20.0)[2]
    assert held[-1] < free[-1] - 0.1, (held, free)


def test_it_starts_at_the_model_before(tiny, tmp_path):
    _, loop, _ = reward_stage(tiny, tmp_path / "run", max_steps=1, lr=1e-12)
    _, numbers = loop.loss(loop.batches(0))
    assert float(numbers["kl"]) == pytest.approx(0.0, abs=1e-9)


def test_base_and_words_of_motion_stay_as_they_are(tiny, tmp_path):
    base = (tiny.backbone / "model.safetensors").read_bytes()
    before = read_tensors(tiny.run / "stage1" / "adapter_model.safetensors")
    folder, _, _ = reward_stage(tiny, tmp_path / "run")
    after = read_tensors(folder / "adapter_model.safetensors")
    assert not (folder / "model.safetensors").exists() and base == (tiny.backbone / "model.safetensors").read_bytes()
    assert set(before) == set(after)
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if "lora_" not in name} and same


@pytest.mark.parametrize("killed_after", [3, 8])
def test_a_resumed_stage_writes_the_same_bytes(tiny, tmp_path, killed_after):
    """Killed between two steps on the same motions, and between two micro-batches of a step."""
    settings = dict(max_steps=5, inner_steps=2, grad_accum=2, batch_size=8, group_size=4)
    whole, _, _ = reward_stage(tiny, tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        reward_stage(tiny, tmp_path / "killed", killed_after=killed_after, **settings)
    resumed, _, _ = reward_stage(tiny, tmp_path / "killed", **settings)
    name = "adapter_model.safetensors"
    assert (whole / name).read_bytes() == (resumed / name).read_bytes()


def test_several_steps_on_the_same_motions_use_the_old_probabilities(tiny, tmp_path):
    _, loop, seen = reward_stage(tiny, tmp_path / "run", max_steps=4, inner_steps=4)
    assert len(seen) == 1  # drawn once
    with torch.no_grad():
        rows = [codes[codes >= 0].tolist() for codes in loop.model.codes[0]]
        asks = [loop.asks[i] for i in loop.batches(0)["asks"]]
        now, _ = log_probs(loop.model.llm, asks, rows, loop.begin_id, loop.sample)
    assert not torch.allclose(now, loop.model.old[0, : len(now)], atol=1e-3)
    torch.testing.assert_close(loop.model.old[0, : len(now)], loop.model.reference[0, : len(now)])


def test_the_loss_of_a_step_is_the_mean_of_each_motion_summed(tiny, tmp_path):
    """Of both micro-batches of a step, each with the advantages of its own motions."""
    given = []

    def noted(asks, rows):
        given.append(reward_low_codes(asks, rows)[0])
        return given[-1], {}

    _, loop, _ = reward_stage(tiny, tmp_path / "run", noted, max_steps=1, grad_accum=2, kl_weight=0.5, inner_steps=2)
    torch.testing.assert_close(loop.model.advantage, torch.stack([advantages(r.view(2, 8)).flatten() for r in given]))
    loop.model.old += 0.1 * torch.randn(loop.model.old.shape)
    for part in (0, 1):
        batch = loop.batches(2 + part)
        assert not batch["fresh"] and batch["part"] == part
        rows = [codes[codes >= 0].tolist() for codes in loop.model.codes[part]]
        total, first = 0.0, 0
        for i, (codes, number) in enumerate(zip(rows, batch["asks"], strict=True)):
            span = slice(first, first + len(codes) + 1)
            log_p, _ = log_probs(loop.model.llm, [loop.asks[number]], [codes], loop.begin_id, loop.sample)
            old, reference = loop.model.old[part, span], loop.model.reference[part, span]
            advantage = loop.model.advantage[part, i].expand(len(log_p))
            total += float(policy_loss(log_p, old, reference, advantage, loop.config).detach().mean())
            first += len(log_p)
        assert float(loop.loss(batch)[0].detach()) == pytest.approx(total, abs=1e-3), part


def test_other_rewards_are_another_training(tiny, tmp_path):
    settings = dict(max_steps=4)
    with pytest.raises(KeyboardInterrupt):
        reward_stage(tiny, tmp_path / "run", killed_after=2, **settings)
    with pytest.raises(ValueError, match=r"--kl-weight 0\.0 there, 0\.5 here"):
        reward_stage(tiny, tmp_path / "run", kl_weight=0.5, **settings)


@for_each(
    "changes, message",
    [
        ({"group_size": 5}, "--batch-size 16 must be a multiple of --group-size 5"),
        ({"batch_size": 32}, "3 sentences with known actions are too few for --batch-size 32"),
        ({"group_size": 1}, "--group-size must be at least 2"),
        ({"reward_temperature": 0.0}, "--reward-temperature must be positive"),
    ],
)
def test_what_cannot_be_trained_is_refused(tiny, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        reward_stage(tiny, tmp_path / "run", **changes)


# 5) What a motion earns.


def test_scores_of_joints():
    (clip,) = fresh_clips(("wave_left",), 1)
    left, right = plain_want(("wave_left",)), plain_want(("wave_right",))
    scores = joint_scores(left, clip)
    assert scores["passed"] == 1 and joint_scores(right, clip)["passed"] == 0
    assert scores["skate"] == 0 and scores["jerk"] > 0
    rng = np.random.default_rng(0)
    shaken = joint_scores(left, clip + 0.01 * rng.standard_normal(clip.shape).astype(np.float32))
    assert shaken["jerk"] > 5 * scores["jerk"]
    slide = clip + np.arange(len(clip))[:, None, None] * np.array([0.05, 0, 0], np.float32)  # 1 m/s
    assert joint_scores(left, slide)["skate"] > 0.9
    assert joint_scores(left, clip[:3]) == {"passed": 0.0, "skate": 0.0, "jerk": 0.0}


def test_what_captions_want():
    """A plain caption says it all; another one of its clip the actions, and how far to turn, but not how often."""
    squats, turn = caption_of([part_of("squat", count=3)]), caption_of([part_of("turn_left", degrees=180)])
    captions = [("a", squats), ("a", "someone squats"), ("b", "walks oddly"), ("c", "a person jumps then claps")]
    captions += [("d", turn), ("d", "a half turn"), ("c", "jumping")]
    found = known_wants(captions)
    assert found[0].steps == (Step(("squat",), count=3),) and found[1] == plain_want(("squat",)) and found[2] is None
    assert found[3] == found[6] == plain_want(("jump", "clap"))
    assert found[4] == found[5] == Want((Step(("turn_left",), degrees=180),))


def test_families_are_left_out_with_both_sides():
    some = left_out(0.25)
    assert some == left_out(0.25) and left_out(0.0) == set() and some < left_out(0.5)
    families = {family(name) for name in CHECKS}
    assert len(some) == round(0.25 * len(families))
    assert is_left_out(plain_want(("clap", "wave_left")), {"wave"}) and not is_left_out(plain_want(("clap",)), {"wave"})


def test_matching_is_a_share_of_the_others():
    motions, own = torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 1.0], [0.0, 3.0]])
    others = torch.tensor([[2.0, 0.0], [4.0, 0.0], [0.0, 0.5]])
    counts = torch.tensor([[True, True, True], [True, True, False]])
    assert match_shares(motions, own, others, counts).tolist() == pytest.approx([2 / 3, 1 / 2])


# 6) The script.

FEW = ("--max-steps", 2, "--batch-size", 4, "--group-size", 2, "--eval-every", 2, "--judged", 2)


def test_the_script_trains_it_and_shows_what_was_not_rewarded(script, tiny, tmp_path):
    kick = sorted(left_out(0.5))[0]
    unrewarded = next(name for name in CHECKS if family(name) == kick)
    rewarded = [name for name in CHECKS if family(name) not in left_out(0.5)][:3]
    requests = [{"sentence": f"sentence {i}", "actions": [name]} for i, name in enumerate((*rewarded, unrewarded))]
    write_json(tmp_path / "r.json", requests)
    given = ("--requests", tmp_path / "r.json", "--held-out", tmp_path / "r.json", "--unrewarded", 0.5)
    start = ("--from", tiny.run, "--data", tiny.data, "--out", tmp_path / "run")
    done = script("finetune", "--stage", "reward", *start, *given, *FEW)
    assert done.code == 0, done.err
    assert "stage 4 of 4: reward" in done.out and "3 sentences are rewarded; no reward for" in done.out
    assert "looked at: 2 held-out sentences, 1 of unrewarded actions" in done.out
    assert "before   loss" in done.out and "unrewarded_passed" in done.out and "motions/s" in done.out
    meta = read_json(tmp_path / "run" / "stage4" / "meta.json")
    assert meta["finished"] and meta["name"] == "reward" and set(meta["reward"]) == {"requests", "held_out"}
    assert script("sample", "--run", tmp_path / "run", "--prompt", "waves", "--output", tmp_path / "w.txt").code == 0
    again = script("finetune", "--stage", "reward", *start, *given, *FEW)
    assert again.code == 2 and "is finished" in again.err


def test_its_flags_are_refused_elsewhere(script, tiny, tmp_path):
    start = ("--data", tiny.data, "--backbone", tiny.backbone, "--out", tmp_path / "run")
    done = script("finetune", "--stage", 1, *start, "--group-size", 4, "--judge", tmp_path)
    assert done.code == 2 and "--judge, --group-size have no meaning but in --stage reward" in done.err
    done = script("finetune", "--stage", "reward", *start, "--from", tiny.run)
    assert done.code == 2 and "name others with --requests and --held-out" in done.err and "\n" not in done.err[:-1]


def test_config_travels_as_json():
    config = replace(RewardConfig(), group_size=4, unrewarded=0.5)
    assert RewardConfig.from_dict(config.to_dict()) == config and config.most == 1.5


def test_an_evaluator_must_know_what_the_run_writes():
    slow, fast = (SimpleNamespace(representation=SimpleNamespace(name="humanml3d-22"), fps=fps) for fps in (20.0, 30.0))
    _check_evaluator(slow, slow, "--judge j")
    with pytest.raises(
        ValueError, match="--judge j knows humanml3d-22 at 30 fps, the run writes humanml3d-22 at 20 fps"
    ):
        _check_evaluator(fast, slow, "--judge j")
