"""scripts/export.py for Hugging Face: transformers and PEFT compute what we compute, from any working directory."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from cases import for_each

from motiongpt.config import LLMConfig, LoRAConfig, SampleConfig, TrainConfig
from motiongpt.data.tokens import meta_path
from motiongpt.files.hashes import file_hash
from motiongpt.files.store import read_json, read_tensors, write_json
from motiongpt.lengths import Limits
from motiongpt.llm import LLM
from motiongpt.lora import adapter_state, inject
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.sampling import generate
from motiongpt.stages.export import export_hf, export_peft
from motiongpt.stages.model import load_run, load_weights
from motiongpt.text_tokenizer import load_text_tokenizer
from motiongpt.vocab import MotionVocab
from motiongpt.weights.adapters import load_adapter
from motiongpt.weights.checks import Unfilled
from motiongpt.weights.llm import load_llm

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")

CLOSE = dict(atol=1e-4, rtol=1e-4)  # fp32: other kernels, and adapters that are merged on one side only
SIZES = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    max_position_embeddings=512,
)
T5_SIZES = dict(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, feed_forward_proj="gated-gelu")
EXTRA = {
    "gemma3_text": dict(query_pre_attn_scalar=8, sliding_window=8, layer_types=["sliding_attention", "full_attention"])
}
FAMILIES = ("qwen2", "qwen3", "llama", "gemma3_text")
FEW = TrainConfig(lr=2e-2, max_steps=2, batch_size=8, eval_every=2, save_every=2, warmup=0.0)


def random_backbone(tiny, folder: Path, family: str, tied: bool, padding: int) -> Path:
    """A random model as `transformers` saves it, with the tiny text tokenizer and a table of `padding` more rows.

    Its weights are large enough that logits are of order 1 and a greedy motion has several codes.
    """
    text_tokenizer = load_text_tokenizer(tiny.backbone)
    if family == "t5":  # with the marks that its prompts and answers end with, and that its decoder starts with
        text_tokenizer.save(folder, ("<pad>", "</s>", *(f"<extra_id_{i}>" for i in range(10))))
        text_tokenizer = load_text_tokenizer(folder)
    end, pad = ("</s>", "<pad>") if family == "t5" else ("<|endoftext|>", "<|endoftext|>")
    config = transformers.AutoConfig.for_model(
        family,
        vocab_size=text_tokenizer.size + padding,
        tie_word_embeddings=tied,
        bos_token_id=None,
        eos_token_id=text_tokenizer.token_id(end),
        pad_token_id=text_tokenizer.token_id(pad),
        **(T5_SIZES if family == "t5" else SIZES | EXTRA.get(family, {})),
    )
    torch.manual_seed(1)
    if family == "t5":
        config.decoder_start_token_id = config.pad_token_id
        model = transformers.AutoModelForSeq2SeqLM.from_config(config)
        if not tied:  # transformers 5 ties the head of every new model
            model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    else:
        model = transformers.AutoModelForCausalLM.from_config(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(6 if parameter.dim() == 2 else 1)
    model.save_pretrained(folder)
    text_tokenizer.save(folder)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    return folder


def program_of(folder: Path) -> str:
    """The program in README.md."""
    return re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL).group(1)


def run_program(folder: Path, monkeypatch) -> dict:
    """What the program of the model card leaves, run in its folder as people would."""
    monkeypatch.chdir(folder)
    values: dict = {}
    exec(compile(program_of(folder), "README.md", "exec"), values)
    return values


def check_same(run: Path, folder: Path, monkeypatch) -> None:
    """Logits, tokens and the greedy motion of the program in the card are ours."""
    ours = load_run(run)
    vocab = ours.vocab
    theirs = run_program(folder, monkeypatch)
    words = theirs["tokenizer"]
    assert words.convert_tokens_to_ids(list(vocab.words)) == list(range(vocab.first_id, vocab.first_id + len(vocab)))
    assert words("<MOT_BEGIN><motion_7><MOT_END>", add_special_tokens=False)["input_ids"] == vocab.motion_ids([7])
    sentence = theirs["sentence"]
    assert theirs["ids"] == vocab.text_tokenizer.encode(sentence)

    prompt = ours.renderer.text_prompt(sentence)
    assert theirs["prompt"] == prompt
    answer = torch.randint(vocab.first_id, ours.llm.vocab_size, (17,)).tolist()
    row = torch.tensor([[*prompt, vocab.begin_id, *answer]])
    with torch.no_grad():
        logits = ours.llm.logits(ours.llm.hidden(row))
        if len(theirs["start"]) == 2:  # an encoder-decoder
            inputs = dict(input_ids=torch.tensor([prompt]), decoder_input_ids=torch.tensor([theirs["start"] + answer]))
        else:
            inputs = dict(input_ids=row)
        torch.testing.assert_close(theirs["model"](**inputs).logits[..., : ours.llm.vocab_size], logits, **CLOSE)
    assert logits.std() > 0.1
    written = theirs["written"].tolist()
    codes = generate(
        ours.llm,
        [prompt],
        begin_id=vocab.begin_id,
        codes=vocab.codes,
        limits=[Limits(1, len(written), len(written))],
        seeds=[0],
        config=SampleConfig(temperature=0, end_logit_slope=0),
    )[0]
    assert [i - vocab.first_motion for i in written if i != vocab.end_id] == codes and codes


CASES = [(family, *case) for family in FAMILIES for case in ((True, 0), (False, 10), (True, 100))]
CASES += [("t5", True, 0), ("t5", True, 100)]


@pytest.mark.slow
@for_each("family, tied, padding", CASES)
def test_transformers_and_peft_compute_what_we_do(family, tied, padding, tiny, tmp_path, monkeypatch):
    """Padding 10: fewer rows than words with the new ones. Padding 100: more, so PEFT does not resize the table."""
    base = random_backbone(tiny, tmp_path / "base", family, tied, padding)
    tiny.finetune(tmp_path / "run", backbone=str(base), config=FEW, lora=LoRAConfig(lora_r=4, lora_alpha=16.0))
    export_hf(tmp_path / "run", tmp_path / "hf")
    check_same(tmp_path / "run", tmp_path / "hf", monkeypatch)
    assert (tmp_path / "hf" / "chat_template.jinja").read_text() == "{{ messages }}"
    ends = read_json(tmp_path / "hf" / "generation_config.json")["eos_token_id"]
    vocab = load_run(tmp_path / "run").vocab
    stops = ["</s>"] if family == "t5" else ["<|im_end|>", "<|endoftext|>"]
    assert ends == [vocab.end_id, *map(vocab.id, stops)]
    pytest.importorskip("peft")
    export_peft(tmp_path / "run", tmp_path / "peft")
    check_same(tmp_path / "run", tmp_path / "peft", monkeypatch)


def test_a_head_that_transformers_would_lose(tiny, tmp_path, monkeypatch):
    """transformers 5 ties the head of T5 v1.1 to the word table when that grows: only the whole model is right."""
    base = random_backbone(tiny, tmp_path / "base", "t5", tied=False, padding=10)
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(base)
    theirs.resize_token_embeddings(theirs.config.vocab_size + 1)
    assert theirs.lm_head.weight is theirs.shared.weight, "transformers keeps the head now: export the adapter"
    tiny.finetune(tmp_path / "run", backbone=str(base), config=FEW)
    with pytest.raises(ValueError, match="its T5 has a head of its own, which transformers 5 ties.*--format hf"):
        export_peft(tmp_path / "run", tmp_path / "peft")
    export_hf(tmp_path / "run", tmp_path / "hf")
    check_same(tmp_path / "run", tmp_path / "hf", monkeypatch)


def test_an_exported_folder_is_a_backbone(tiny, tmp_path):
    """The same words on the same ids, with the rows they had; a stage on it is sampled and exported in turn."""
    export_hf(tiny.run, tmp_path / "hf")
    first = load_run(tiny.run)
    tiny.finetune(tmp_path / "again", backbone=str(tmp_path / "hf"), config=replace(FEW, lr=1e-12))
    again = load_run(tmp_path / "again")
    assert again.vocab.words == first.vocab.words and again.vocab.first_id == first.vocab.first_id
    ids = torch.randint(0, first.llm.vocab_size, (2, 17))
    with torch.no_grad():
        torch.testing.assert_close(again.llm(ids), first.llm(ids), **CLOSE)
    export_hf(tmp_path / "again", tmp_path / "third")
    # full training writes its own table; the text tokenizer it keeps has no words of motion
    tiny.finetune(tmp_path / "full", backbone=str(tmp_path / "hf"), config=FEW, train_mode="full")
    full = load_run(tmp_path / "full")
    assert full.llm.vocab_size == first.llm.vocab_size and full.vocab.text_tokenizer.token_id("<motion_0>") is None
    export_hf(tmp_path / "full", tmp_path / "fourth")


def test_words_keep_their_rows_if_participants_change(tiny, tmp_path):
    export_hf(tiny.run, tmp_path / "hf")
    first = load_run(tiny.run)
    vqvae = file_hash(tiny.vqvae / "model.safetensors")
    vocab = MotionVocab(first.vocab.text_tokenizer, 32, ("P0", "P2", "new"))
    rows = load_weights(tmp_path / "hf", vocab, vqvae=vqvae)[0].new_in
    kept = [word for word in vocab.words if word in first.vocab.words]
    assert set(vocab.words) - set(kept) == {"<PID_new>"}
    for word in kept:
        assert torch.equal(rows[vocab.words.index(word)], first.llm.new_in[first.vocab.words.index(word)]), word
    # the codes of another tokenizer are other words, even if they look alike
    other = load_weights(tmp_path / "hf", vocab, vqvae="another")[0].new_in
    assert not torch.equal(other[2], rows[2])


def test_without_its_meta_json_it_is_refused_with_a_remedy(tiny, tmp_path):
    export_hf(tiny.run, tmp_path / "hf")
    (tmp_path / "hf" / "meta.json").unlink()
    with pytest.raises(ValueError, match="<MOT_BEGIN> exists already.*with its meta.json"):
        tiny.finetune(tmp_path / "again", backbone=str(tmp_path / "hf"))


def test_nothing_is_overwritten_or_left_half(tiny, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    for export in (export_hf, export_peft):
        with pytest.raises(FileExistsError, match="mine is there already"):
            export(tiny.run, tmp_path / "mine")
    monkeypatch.setattr("motiongpt.stages.export.model_card", lambda *args: 1 / 0)
    for export in (export_hf, export_peft):
        with pytest.raises(ZeroDivisionError):
            export(tiny.run, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_cannot_be_exported_says_why(script, tiny, tmp_path):
    tiny.finetune(tmp_path / "full", train_mode="full")
    out = tmp_path / "out"
    for args, message in [
        (("peft", "--run", tmp_path / "full"), "stage1 was trained in full, so there is no adapter in it: --format hf"),
        (("peft", "--run", tiny.run, "--base-name", tmp_path / "full" / "stage1"), "holds other weights than the"),
        (("hf", "--run", tiny.run, "--base-name", "x/y"), "--base-name has no meaning with --format hf"),
        (("hf", "--run", tiny.run, "--stage", 3), "no finished stage 3"),
        (("hf", "--run", tiny.run, "--vqvae", tiny.vqvae), "--vqvae has no meaning with --format hf"),
        (("t2m-gpt", "--vqvae", tiny.vqvae, "--dtype", "fp16"), "--dtype has no meaning with --format t2m-gpt"),
        (("hf",), "--format hf needs --run"),
    ]:
        done = script("export", "--out", out, "--format", *args)
        assert done.code == 2 and message in done.err and done.err.count("\n") == 1, done.err
    assert not out.exists()


def test_the_card_says_what_the_data_says_of_its_licence(tiny, tmp_path):
    data = tmp_path / "tokens.json"
    shutil.copyfile(tiny.data, data)
    write_json(meta_path(data), read_json(meta_path(tiny.data)) | {"licence": "CC BY 4.0"})
    tiny.finetune(tmp_path / "run", data=data, config=FEW)
    for run, licence in ((tmp_path / "run", "CC BY 4.0"), (tiny.run, "not recorded")):
        out = tmp_path / f"{run.name} {licence}"
        export_peft(run, out)
        assert f"; licence: {licence}" in (out / "README.md").read_text(encoding="utf-8")


def test_the_card_promises_only_what_the_stage_learnt(tiny, tmp_path):
    further = "This stage was not trained on text to motion"
    for task, writes in (("t2m", True), ("motion", True), ("caption", False)):
        run, out = tmp_path / task, tmp_path / f"{task} out"
        tiny.finetune(run, tasks={task: 1.0}, config=FEW)
        export_peft(run, out)
        card = (out / "README.md").read_text(encoding="utf-8")
        assert ("It writes human motion" in card) == writes
        assert (further in card) == (task != "t2m")
        assert "trained as an adapter, 2 steps\n" in card
    meta = tmp_path / "t2m" / "stage1" / "meta.json"
    write_json(meta, read_json(meta) | {"debug": True})
    export_peft(tmp_path / "t2m", tmp_path / "debug")
    assert "2 steps (a --debug run: expect nothing)" in (tmp_path / "debug" / "README.md").read_text(encoding="utf-8")


def test_scripts_write_what_they_name(script, tiny, tmp_path, monkeypatch):
    """The base of an adapter is named so that it is found from any working directory."""
    monkeypatch.chdir(tiny.folder)
    done = script("export", "--format", "peft", "--run", "run", "--dtype", "fp16", "--out", tmp_path / "a")
    assert done.code == 0 and f"PEFT loads it onto {tiny.backbone.resolve()}" in done.out, done.err
    named = script("export", "--format", "peft", "--run", "run", "--base-name", "Some/Model", "--out", tmp_path / "b")
    assert named.code == 0 and "base_model: Some/Model" in (tmp_path / "b" / "README.md").read_text()
    bases = [read_json(tmp_path / name / "adapter_config.json")["base_model_name_or_path"] for name in "ab"]
    assert bases == [str(tiny.backbone.resolve()), "Some/Model"]
    whole = script("export", "--format", "hf", "--run", "run", "--stage", 1, "--dtype", "bf16", "--out", tmp_path / "c")
    assert whole.code == 0 and f"--backbone {tmp_path / 'c'}" in whole.out
    assert {tensor.dtype for tensor in read_tensors(tmp_path / "c" / "model.safetensors").values()} == {torch.bfloat16}
    assert MotionTokenizer.load(tmp_path / "c" / "vqvae").hash == MotionTokenizer.load(tiny.vqvae).hash


def test_large_models_come_in_shards(tiny, tmp_path, monkeypatch):
    """As transformers writes them: the same files hold the same tensors, and both sides read them."""
    monkeypatch.setattr("motiongpt.stages.export.MAX_SHARD_BYTES", 20_000)
    export_hf(tiny.run, tmp_path / "hf")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    theirs.save_pretrained(tmp_path / "theirs", max_shard_size=20_000)
    index = read_json(tmp_path / "hf" / "model.safetensors.index.json")
    assert index["metadata"] == read_json(tmp_path / "theirs" / "model.safetensors.index.json")["metadata"]
    files = sorted(path.name for path in (tmp_path / "hf").glob("*.safetensors"))
    assert files[0] == "model-00001-of-00006.safetensors" and sorted(set(index["weight_map"].values())) == files
    assert all((tmp_path / "hf" / name).stat().st_size < 24_000 for name in files[1:])
    tables = [load_run(tiny.run).llm, load_llm(tmp_path / "hf")]
    ids = torch.randint(0, tables[0].vocab_size, (2, 9))
    with torch.no_grad():
        torch.testing.assert_close(tables[1](ids), tables[0](ids), **CLOSE)
        torch.testing.assert_close(theirs(input_ids=ids).logits, tables[0](ids), **CLOSE)
    tiny.finetune(tmp_path / "again", backbone=str(tmp_path / "hf"), config=FEW)
    assert load_run(tmp_path / "again").vocab.words == load_run(tiny.run).vocab.words


@for_each(
    "shape, most",
    [  # SmolLM2-135M, Qwen3-0.6B, and Gemma 3 270M, for which PEFT's own way wrote 676 MB
        ((576, 1536, 30, 9, 3, 64), 11),
        ((1024, 3072, 28, 16, 8, 128), 22),
        ((640, 2048, 18, 4, 1, 256), 10),
    ],
)
def test_an_adapter_is_small(shape, most, tiny):
    """Rank 16 on all layers and 519 motion rows, in MB of fp16, counted on a model without memory."""
    names = ("hidden_size", "intermediate_size", "num_layers", "num_heads", "num_kv_heads", "head_dim")
    with Unfilled():
        llm = LLM(LLMConfig(vocab_size=1000, **dict(zip(names, shape, strict=True))))
    rows = 519 * llm.config.hidden_size
    inject(llm, LoRAConfig(lora_r=16))
    numbers = rows + sum(tensor.numel() for tensor in adapter_state(llm).values())
    assert most - 2 < 2 * numbers / 1e6 < most < 25


def test_an_adapter_loads_back(tiny, tmp_path):
    """In fp16 onto the bare base, and as the start of another run."""
    export_peft(tiny.run, tmp_path / "out", dtype=torch.float16)
    first = load_run(tiny.run)
    llm = load_llm(tiny.backbone)
    load_adapter(llm, tmp_path / "out")
    ids = torch.randint(0, first.llm.vocab_size, (2, 9))
    with torch.no_grad():  # fp16 keeps 11 bits of numbers below 1
        torch.testing.assert_close(llm(ids), first.llm(ids), atol=2e-3, rtol=1e-2)
    tiny.finetune(tmp_path / "again", source=tmp_path / "out", config=replace(FEW, lr=1e-12))
    with torch.no_grad():
        torch.testing.assert_close(load_run(tmp_path / "again").llm(ids), llm(ids), **CLOSE)
