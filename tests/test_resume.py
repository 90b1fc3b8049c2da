"""What a resumed training must find again: which differences end it, and how they are told."""

from dataclasses import replace

import pytest
from cases import for_each
from test_loops import CONFIG, linear, run, squares, stop_at

from motiongpt.config import LoRAConfig, TrainConfig, VQVAEConfig
from motiongpt.training.resume import changes, known_micro_batches, planned_steps, resumed_micro_batches


@for_each(
    "saved, now, lines",
    [
        ({"lr": 1e-3}, {"lr": 2e-3}, ["--lr 0.001 there, 0.002 here"]),
        (TrainConfig().run_identity(), TrainConfig(base_dtype="bf16").run_identity(),
         ["--base-dtype 'auto' there, 'bf16' here"]),
        (TrainConfig(tell_length=0.5).run_identity(), TrainConfig().run_identity(),
         ["--tell-length 0.5 there, 0.0 here"]),
        ({"model": VQVAEConfig(down=1).run_identity()}, {"model": VQVAEConfig().run_identity()},
         ["--down 1 there, 2 here"]),
        ({"model": {"feature_dim": 251}}, {"model": {"feature_dim": 263}}, ["feature_dim 251 there, 263 here"]),
        (LoRAConfig().to_dict(), LoRAConfig(lora_r=3).to_dict(), [f"--lora-r {LoRAConfig.lora_r} there, 3 here"]),
        ({"data": "abc"}, {"data": "xyz"}, ["data 'abc' there, 'xyz' here"]),
        ({"lr": 1e-3}, {"lr": 1e-3}, []),
        # a setting from before there was one is not taken for the same
        ({}, {"min_lr": 0.0}, ["--min-lr None there, 0.0 here"]),
    ],
)  # fmt: skip
def test_changes_are_told_by_the_names_of_flags(saved, now, lines):
    assert changes(saved, now) == lines


@for_each(
    "began, micro_batches, asked, shares, found",
    [
        (1, 2, 1, 1, 2),  # begun by two processes, which made two of one
        (1, 2, 2, 1, 2),  # the same steps, asked for by their number
        (3, 4, 4, 2, 4),
        (3, 4, 3, 4, 4),
        (3, None, 3, 1, 3),  # of a state from before the number was saved
        (3, 3, 4, 1, "--grad-accum: a step has 3 micro-batches there, 4 here"),
        (3, 4, 5, 2, "--grad-accum: a step has 4 micro-batches there, 6 here"),
        (1, 2, 1, 4, "a step of this training has 2 micro-batches, which 4 processes cannot share evenly"),
    ],
)
def test_steps_are_compared_and_not_what_was_asked_for(tmp_path, began, micro_batches, asked, shares, found):
    saved = {"fingerprint": {"grad_accum": began, "lr": 1e-3}}
    saved |= {} if micro_batches is None else {"micro_batches": micro_batches}
    now = {"grad_accum": asked, "lr": 1e-3}
    if isinstance(found, int):
        assert resumed_micro_batches(tmp_path, saved, now, asked, shares) == found
    else:
        with pytest.raises(ValueError, match=found):
            resumed_micro_batches(tmp_path, saved, now, asked, shares)


def test_a_training_with_other_steps_is_not_resumed(tmp_path):
    model, config = linear(), replace(CONFIG, grad_accum=2)
    loss = stop_at(squares(model), 5)
    assert run(model, tmp_path, loss=loss, config=config, fingerprint=config.run_identity()).step == 3
    assert known_micro_batches(tmp_path) == 2 and known_micro_batches(tmp_path / "none") is None
    other = replace(config, grad_accum=3, lr=0.5)
    told = (
        r"run with other settings \(--lr 0.01 there, 0.5 here, --grad-accum: a step has 2 .* there, 3 here\); --fresh"
    )
    with pytest.raises(ValueError, match=told):
        run(linear(), tmp_path, config=other, fingerprint=other.run_identity())
    by_tokens = replace(config, guard=0.0, eval_every=5)
    assert run(linear(), tmp_path, config=by_tokens, fingerprint=by_tokens.run_identity()).finished


def test_planned_steps_are_those_of_the_saved_training(tmp_path):
    config = TrainConfig(epochs=2.0, grad_accum=3)
    assert planned_steps(config, 12, 1) == 8 and planned_steps(config, 12, 2) == 6
    (tmp_path / "state" / "last").mkdir(parents=True)
    for content, steps in ('{"micro_batches": 2}', 12), ('{"micro_batches": "x"}', 8), ("{", 8):
        (tmp_path / "state" / "last" / "state.json").write_text(content)
        assert planned_steps(config, 12, 1, tmp_path) == steps
