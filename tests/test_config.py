"""Configs: JSON in both directions, and bad values refused with the name of their flag."""

import dataclasses
import json

import pytest
from cases import for_each

from motiongpt.config import LLM_PRESETS, LLMConfig, LoRAConfig, SampleConfig, TrainConfig, VQVAEConfig, flag_name

CONFIGS = (LLMConfig, LoRAConfig, VQVAEConfig, TrainConfig, SampleConfig)


@for_each("kind", CONFIGS)
def test_json_round_trip(kind):
    config = kind()
    assert kind.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, 3)


def test_tuples_and_floats_survive_json():
    config = LoRAConfig(lora_targets=("q_proj",), lora_alpha=0.1 + 0.2)
    back = LoRAConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert back == config and isinstance(back.lora_targets, tuple)


@for_each("kind", CONFIGS)
def test_unknown_keys_are_refused(kind):
    with pytest.raises(ValueError, match=f"{kind.__name__} has no field colour, size; known fields: "):
        kind.from_dict({"size": 1, "colour": 2})


@for_each(
    "kind, values",
    [
        (TrainConfig, {"lr": "1e-4"}),
        (TrainConfig, {"batch_size": 2.5}),
        (TrainConfig, {"batch_size": True}),
        (TrainConfig, {"lr": None}),
        (TrainConfig, {"lr": True}),
        (TrainConfig, {"lr": float("inf")}),
        (TrainConfig, {"warmup": json.loads("1e999")}),
        (SampleConfig, {"temperature": float("nan")}),
        (LLMConfig, {"tie_embeddings": 1}),
        (VQVAEConfig, {"causal": "yes"}),
        (LoRAConfig, {"lora_targets": "q_proj"}),
        (LoRAConfig, {"lora_targets": [1]}),
        (SampleConfig, {"penalty_scope": 3}),
    ],
)
def test_values_of_the_wrong_kind_are_refused(kind, values):
    (name,) = values
    kinds = "a finite number|a whole number|a text|a list of texts|true or false"
    with pytest.raises(ValueError, match=f"{flag_name(name)} must be ({kinds}), got "):
        kind.from_dict(values)
    assert TrainConfig.from_dict({"lr": 1}).lr == 1  # JSON may write 1.0 as 1


@for_each(
    "kind, values",
    [
        (TrainConfig, {"lr": 0.0}),
        (TrainConfig, {"lr": float("nan")}),
        (TrainConfig, {"min_lr": 1.5}),
        (TrainConfig, {"schedule": "linear"}),
        (TrainConfig, {"warmup": -0.1}),
        (TrainConfig, {"epochs": 0.0}),
        (TrainConfig, {"epochs": float("inf")}),
        (TrainConfig, {"batch_size": 0}),
        (TrainConfig, {"grad_accum": 0}),
        (TrainConfig, {"clip": -1.0}),
        (TrainConfig, {"seed": -1}),
        (TrainConfig, {"beta2": 1.0}),
        (TrainConfig, {"weight_decay": -0.1}),
        (TrainConfig, {"precision": "int8"}),
        (TrainConfig, {"label_smoothing": 1.0}),
        (TrainConfig, {"tell_length": 1.1}),
        (TrainConfig, {"loss_vocab": "words"}),
        (TrainConfig, {"pack": 511}),
        (LoRAConfig, {"lora_r": 0}),
        (LoRAConfig, {"lora_dropout": 1.0}),
        (LoRAConfig, {"lora_targets": ()}),
        (VQVAEConfig, {"codes": 0}),
        (VQVAEConfig, {"ema_decay": 1.0}),
        (VQVAEConfig, {"joint_dim": 260}),
        (VQVAEConfig, {"dead_below": -1.0}),
        (VQVAEConfig, {"feature_bias": 0.0}),
        (SampleConfig, {"temperature": -0.1}),
        (SampleConfig, {"top_p": 0.0}),
        (SampleConfig, {"top_p": 1.1}),
        (SampleConfig, {"max_new_tokens": 0}),
        (LLMConfig, {"num_kv_heads": 3}),
        (LLMConfig, {"head_dim": 7}),
    ],
)
def test_bad_values_name_their_flag(kind, values):
    (name,) = values
    with pytest.raises(ValueError, match=f"{flag_name(name)} must be .*, got ") as error:
        kind(**values)
    assert "\n" not in str(error.value)


def test_every_field_with_a_flag_has_help():
    for kind in (TrainConfig, LoRAConfig, VQVAEConfig, SampleConfig):
        for field in dataclasses.fields(kind):
            assert len(field.metadata["help"]) > 10, field.name
    assert flag_name("lora_r") == "--lora-r"


def test_run_identity_ignores_how_often_one_looks():
    base = TrainConfig()
    assert base.run_identity() == TrainConfig(eval_every=7, save_every=1, log_every=3, max_minutes=5.0).run_identity()
    for other in (TrainConfig(lr=1e-3), TrainConfig(seed=1), TrainConfig(batch_size=3), TrainConfig(max_steps=9)):
        assert other.run_identity() != base.run_identity()


def test_a_field_that_older_runs_lack_counts_only_if_it_is_used():
    """These came later: a state that was saved before must still fit a run without them."""
    for name in ("tell_length", "plain_share"):
        base = TrainConfig().to_dict()
        del base[name]
        older = TrainConfig.from_dict(base)
        assert older == TrainConfig() and name not in older.run_identity()
        assert TrainConfig(**{name: 0.5}).run_identity() == older.run_identity() | {name: 0.5}
    for changed in ({"loss_vocab": "motion"}, {"pack": 512}):
        assert not set(changed) & set(TrainConfig().run_identity())
        assert TrainConfig(**changed).run_identity() == TrainConfig().run_identity() | changed
    assert VQVAEConfig(causal=True).run_identity() == VQVAEConfig().run_identity() | {"causal": True}


def test_presets_and_frames_per_code():
    assert LLM_PRESETS["demo"].hidden_size == 256 and VQVAEConfig().frames_per_code == 4
    assert VQVAEConfig(down=3).frames_per_code == 8
