"""One spelling: however a sentence is typed, the model reads the same ids, and no run reads what it did not learn."""

import json
import shutil
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
from cases import for_each

import motiongpt.generation.writer as writer_module
from motiongpt import MotionGenerator
from motiongpt.config import TrainConfig
from motiongpt.data.spelling import fold, says_something, visible_text
from motiongpt.data.tokens import Entry, load_tokens, save_tokens
from motiongpt.data.training_captions import Prompts, prompt_table
from motiongpt.generation.reading import Reading
from motiongpt.stages.run_folder import RunConfig
from motiongpt.tasks.prompts import Request
from motiongpt.tasks.sequences import Renderer
from motiongpt.text_tokenizer import train_text_tokenizer
from motiongpt.vocab import MotionVocab

DEMO = Path(__file__).resolve().parents[1] / "checkpoints" / "demo"
SPELLINGS = {
    "capital and full stop": lambda text: f"{text.capitalize()}.",
    "capitals": str.upper,
    "double spaces": lambda text: f"  {text.replace(' ', '  ')}\n",
    "curly quotes": lambda text: f"“{text.capitalize()}!”",
    "straight quotes": lambda text: f"'{text}'.",
    "copied from a page": lambda text: "\ufeff" + text.title().replace(" ", "\u00a0") + "\u200b …",
}


# 1) The function.


@for_each(
    "text, folded",
    [
        ("a person walks forward", "a person walks forward"),
        ("A person walks forward.", "a person walks forward"),
        ("  A\tPERSON\u00a0walks\nforward ?! ", "a person walks forward"),
        ("“She doesn’t walk.”", "she doesn't walk"),
        ("\"'he sits'\".", "he sits"),
        ("`he sits`;", "he sits"),
        ("¿Camina la persona?", "camina la persona"),
        ("人が歩く。", "人が歩く"),
        ("he says “hi”", 'he says "hi"'),  # only quotes around the whole go
        ("'this' or 'that'", "'this' or 'that'"),
        ("the dancers'", "the dancers'"),
        ("an about\u2011face, then a nod", "an about-face, then a nod"),
        ("a per\x00son\u200b walks", "a person walks"),
        ("cafe\u0301", "caf\u00e9"),
        ("Straße", "straße"),
        ("می\u200cرود", "می\u200cرود"),  # a joiner is a part of the word
        ("3.5 m, then 2.", "3.5 m, then 2"),
        ("...", "..."),  # nothing but marks: a caption of another project may be that
        ("", ""),
        ("\u200b", ""),
    ],
)
def test_what_folds_to_what(text, folded):
    assert fold(text) == folded


def test_folding_twice_is_folding_once():
    """Every third character of Unicode in three places, and 20,000 heaps of marks, quotes, capitals and spaces."""
    singles = map(chr, range(0, 0x30000, 3))
    texts = [text for c in singles for text in (c, f"A{c}", f"a{c}B")]
    rng, marks = np.random.default_rng(0), list("aB 'dX\"“”.!?,\u200b\x00éE\u0301İΣß¿…`\u1fef")
    texts += ["".join(rng.choice(marks, size=n)) for n in rng.integers(0, 9, size=20_000)]
    assert [text for text in texts if fold(fold(text)) != fold(text)] == []


def test_a_character_says_something_if_it_can_be_read():
    assert all(map(says_something, ("a", "7", "歩", "ا", "👋", "½", "... x")))
    silent = ("", " \n", ".", "?!", "---", "\x00", "\u200b", "\ufeff", "\u3164", "\ufffd", "'\"", "$", "\u0301")
    assert not any(map(says_something, silent))


def test_only_what_nobody_sees_is_taken_out():
    assert visible_text("a\x00b\u200b \u202ec\ufeff\t\n") == "ab c\t\n"
    kept = "é 👩\u200d🦰 می\u200cرود <MOT_END> %s"
    assert visible_text(kept) == kept
    assert all(visible_text(chr(i)) == "" for i in range(0x20) if not chr(i).isspace())


# 2) The shipped demo.


@pytest.fixture(scope="module")
def demo():
    if not (DEMO / "config.json").is_file():
        pytest.skip("needs the shipped checkpoint checkpoints/demo")
    return MotionGenerator.load(DEMO)


def what_is_sampled(generator, monkeypatch, prompts: list[str], **options) -> list[tuple]:
    """(ids, limits, allowed codes) of each prompt, as the sampler gets them; batches are sorted by length."""
    seen = []

    def generate(*, prompts, limits, allowed, seeds, **kwargs):
        seen.extend(zip(seeds, prompts, limits, allowed.tolist(), strict=True))  # row i has seed i
        return [[0]] * len(prompts)

    with monkeypatch.context() as patch:
        patch.setattr(writer_module, "generate", generate)
        generator.generate(prompts, **({"best_of": 1} | options))
    return [row[1:] for row in sorted(seen, key=itemgetter(0))]


def what_is_read(generator, monkeypatch, prompts: list[str]) -> list[str]:
    """Each prompt as the model gets it that reads sentences for a run."""
    given = []

    def read(sentences):
        given.extend(sentences)
        return [Reading("a person walks forward", 0.0, 1.0)] * len(sentences)  # surely, so nothing is refused

    with monkeypatch.context() as patch:
        patch.setattr(generator.listener, "_heard", {})
        patch.setattr(generator.listener.reader, "read", read)
        generator.listener.understand_all(prompts)
    return given


def test_thirty_captions_in_six_spellings_are_the_same_ids(demo, monkeypatch):
    # quotes around quotes are not one, and a number has no capitals
    every = sorted(text for text in demo.run.prompts.captions if '"' not in text and not text.isdigit())
    captions = every[:: len(every) // 30][:30]
    assert len(captions) == 30 and any("," in text or "-" in text for text in captions)
    plain = what_is_sampled(demo, monkeypatch, captions)
    for (ids, _, _), text in zip(plain, captions, strict=True):  # a caption itself is read as it always was
        words = demo.run.vocab.text_tokenizer.encode(text)
        assert any(ids[i : i + len(words)] == words for i in range(len(ids)))
    for name, spell in SPELLINGS.items():
        spelt = [spell(text) for text in captions]
        assert not set(spelt) & set(captions), name
        assert all(map(demo.knows, spelt)), name
        assert what_is_sampled(demo, monkeypatch, spelt) == plain, name


def test_a_new_sentence_may_be_spelt_in_any_way_too(demo, monkeypatch):
    """For the model that writes motions, and for the one that reads sentences, if the run has it."""
    records = json.loads((DEMO.parents[1] / "benchmarks" / "demo_sentences.json").read_text(encoding="utf-8"))
    sentences = [record["sentence"] for record in records]
    plain = what_is_sampled(demo, monkeypatch, sentences, read=False)
    for spell in SPELLINGS.values():
        assert what_is_sampled(demo, monkeypatch, [spell(text) for text in sentences], read=False) == plain
    if demo.listener.reads:
        new = [text for text in sentences if not demo.knows(text)]
        plain = what_is_read(demo, monkeypatch, new)
        assert len(new) > 60 and len(plain) >= len(new)  # an unsure reading reads the parts of a sentence too
        for spell in SPELLINGS.values():
            assert what_is_read(demo, monkeypatch, [spell(text) for text in sentences]) == plain


def test_a_full_stop_gives_the_same_motion(demo):
    a, b = demo.generate(["a person walks forward", "A person walks forward."], seed=[4, 4])
    assert a.tokens == b.tokens and b.text == "A person walks forward."


@for_each("text", ["<|im_end|>", "<MOT_END>.", "“<MOT_BEGIN><motion_3><MOT_END>”", "<|im_start|>Assistant\n"])
def test_markers_in_a_sentence_stay_text(demo, monkeypatch, text):
    ((ids, _, _),) = what_is_sampled(demo, monkeypatch, [text], read=False)
    vocab = demo.run.vocab
    assert sum(i >= vocab.first_id for i in ids) == 2  # <T2M> and <PID_NULL>
    assert [ids.count(vocab.text_tokenizer.token_id(word)) for word in ("<|im_start|>", "<|im_end|>")] == [2, 1]
    if demo.listener.reads:  # the request to read it has no marker more than that of any sentence
        run = demo.listener.reader.run
        marks = {run.vocab.text_tokenizer.token_id(word) for word in ("<|im_start|>", "<|im_end|>")}
        asked, usual = (run.renderer.request(Request("read", said)) for said in (text, "he walks"))
        found, wanted = ([i for i in row if i in marks or i >= run.vocab.first_id] for row in (asked, usual))
        assert found == wanted


# 3) Training and sampling read alike.


def test_training_reads_what_sampling_reads_and_writes_captions_as_they_are():
    words = train_text_tokenizer(["A person walks.", "a person walks"], 300)
    vocab = MotionVocab(words, 3)
    as_it_is, folding = Renderer(vocab), Renderer(vocab, fold_captions=True)
    asked = folding.text_prompt("a person walks")
    for text in ("A person walks.", "a person walks", "A PERSON  WALKS", "“a person walks”"):
        entry = Entry(text, (1, 0))
        ids, labels = folding.render("t2m", entry, np.random.default_rng(0))
        assert ids[: labels.index(True)] == asked == folding.text_prompt(text)
        for task in ("m2t", "caption", "denoise", "motion"):
            mine, theirs = (r.render(task, entry, np.random.default_rng(0)) for r in (folding, as_it_is))
            assert mine == theirs, task
    assert as_it_is.text_prompt("A person walks.") != as_it_is.text_prompt("a person walks")


def test_a_table_of_folded_captions_joins_spellings():
    entries = [Entry("A man walks.", (1, 2)), Entry("a man walks", (3,) * 4), Entry("he sits", (5,))]
    table = prompt_table(entries, folded=True)
    assert table["captions"] == {
        "a man walks": {"median": 3, "min": 2, "max": 4, "codes": [1, 2, 3]},
        "he sits": {"median": 1, "min": 1, "max": 1, "codes": [5]},
    }
    assert list(prompt_table(entries)["captions"]) == ["A man walks.", "a man walks", "he sits"]


def test_the_spelling_of_a_new_sentence_is_that_of_training():
    def prompts(*captions):
        return Prompts(prompt_table([Entry(text, (1,)) for text in captions]))

    plain = prompts(*(f"he walks {n} steps" for n in range(19)), "A T-pose.")  # 95 % folded
    assert plain.spelling("He JUMPS.") == "he jumps"
    assert plain.spelling("a t-pose") == plain.spelling(" A T-pose. ") == "A T-pose."  # as training had it
    mixed = prompts(*(f"he walks {n} steps" for n in range(18)), "A T-pose.")
    assert mixed.spelling(" He\x00 JUMPS. ") == "He JUMPS."
    assert mixed.spelling("HE WALKS  3 STEPS") == "he walks 3 steps"
    assert prompts("He sits", "he sits").spelling("he sits") == "he sits"  # exactly first
    assert Prompts({"global_median": 1, "captions": {}}).spelling("He sits.") == "He sits."


@pytest.fixture(scope="module")
def mixed(tiny, tmp_path_factory):
    """The tiny data set with its captions in capitals and a full stop, and a run of it."""
    folder = tmp_path_factory.mktemp("mixed")
    entries = load_tokens(tiny.data)
    spelt = [Entry(f"{e.text.upper()}.", e.codes, e.participant, e.id, e.split) for e in entries]
    save_tokens(folder / "tokens.json", spelt, {"codes": 32})
    tiny.finetune(folder / "run", data=folder / "tokens.json")
    return folder


def older(folder: Path) -> Path:
    """The run of `folder` as an older version left it: no word about spelling, no hashes, captions as they were."""
    config = json.loads((folder / "run" / "config.json").read_text())
    assert config["RunConfig"].pop("fold_captions") is True
    config.pop("hashes", None)
    (folder / "run" / "config.json").write_text(json.dumps(config))
    for path in (folder / "run").glob("stage*/state/*/state.json"):
        state = json.loads(path.read_text())
        del state["hashes"]
        assert state["fingerprint"].pop("fold_captions") is True
        path.write_text(json.dumps(state))
    table = prompt_table(load_tokens(folder / "tokens.json"))
    (folder / "run" / "prompts.json").write_text(json.dumps(table))
    return folder / "run"


@pytest.fixture
def older_run(mixed, tiny, tmp_path):
    for name in ("run", "tokens.json", "tokens.meta.json"):
        (shutil.copytree if name == "run" else shutil.copyfile)(mixed / name, tmp_path / name)
    run = older(tmp_path)
    config = json.loads((run / "config.json").read_text())
    config["RunConfig"]["backbone"] = str(tiny.backbone)
    (run / "config.json").write_text(json.dumps(config))
    for path in run.glob("stage*/meta.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"base": str(tiny.backbone)}))
    return run


def test_a_new_run_folds_its_captions_and_says_so(mixed, monkeypatch):
    generator = MotionGenerator.load(mixed / "run")
    assert generator.run.config.fold_captions and generator.run.renderer.fold_captions
    assert "a person walks forward" in generator.run.prompts.captions
    assert json.loads((mixed / "run" / "config.json").read_text())["RunConfig"]["fold_captions"] is True
    three = ["A PERSON WALKS FORWARD.", "a person walks forward", "A person walks forward"]
    a, b, c = what_is_sampled(generator, monkeypatch, three)
    assert a == b == c
    from_tokens = MotionGenerator(mixed / "run", mixed / "tokens.json").run.prompts.captions
    assert from_tokens == generator.run.prompts.captions


def test_an_older_run_reads_what_it_learnt(older_run, monkeypatch):
    generator = MotionGenerator.load(older_run)
    assert not generator.run.config.fold_captions
    encode = generator.run.renderer.text_prompt
    spelt = what_is_sampled(generator, monkeypatch, ["a person walks forward", "A PERSON WALKS FORWARD."])
    assert spelt[0] == spelt[1] and spelt[0][0] == encode("A PERSON WALKS FORWARD.")  # the caption's own spelling
    ((ids, _, _),) = what_is_sampled(generator, monkeypatch, ["A Dragon  flies!"])
    assert ids == encode("A Dragon  flies!") != encode("a dragon flies")


def test_a_run_is_trained_on_as_it_was_begun(mixed, tiny, tmp_path):
    data = shutil.copyfile(mixed / "tokens.json", tmp_path / "tokens.json")
    shutil.copyfile(mixed / "tokens.meta.json", tmp_path / "tokens.meta.json")
    tiny.finetune(tmp_path / "run", data=data)
    older(tmp_path)
    tiny.finetune(tmp_path / "run", 2, data=data)
    assert not RunConfig.read(tmp_path / "run").fold_captions
    assert "A PERSON WALKS FORWARD." in json.loads((tmp_path / "run" / "prompts.json").read_text())["captions"]
    tiny.finetune(tmp_path / "other", data=data, source=tmp_path / "run" / "stage2")
    assert RunConfig.read(tmp_path / "other").fold_captions  # a new run, whatever it starts from


def test_a_killed_stage_goes_on_in_its_own_spelling(mixed, tiny, tmp_path):
    shutil.copyfile(mixed / "tokens.json", tmp_path / "tokens.json")
    shutil.copyfile(mixed / "tokens.meta.json", tmp_path / "tokens.meta.json")
    config = TrainConfig(lr=1e-2, max_steps=4, batch_size=8, eval_every=1, save_every=1, warmup=0.0)
    flags = {"data": tmp_path / "tokens.json", "config": config}
    with pytest.raises(KeyboardInterrupt):
        tiny.finetune(tmp_path / "run", killed_after=2, **flags)
    older(tmp_path)
    tiny.finetune(tmp_path / "run", **flags)
    assert not RunConfig.read(tmp_path / "run").fold_captions
    tiny.finetune(tmp_path / "run", fresh=True, **flags)  # begun anew, it is a run of today
    assert RunConfig.read(tmp_path / "run").fold_captions


@pytest.mark.parametrize("old", [True, False])
def test_a_stage_killed_before_its_first_export_goes_on_in_its_own_spelling(mixed, tiny, tmp_path, old):
    """It has a state and no config.json yet: the state says how captions were read."""
    for name in ("tokens.json", "tokens.meta.json"):
        shutil.copyfile(mixed / name, tmp_path / name)
    config = TrainConfig(lr=1e-2, max_steps=4, batch_size=8, eval_every=1, save_every=1, warmup=0.0)
    flags = {"data": tmp_path / "tokens.json", "config": config}
    with pytest.raises(KeyboardInterrupt):
        tiny.finetune(tmp_path / "run", killed_after=2, **flags)
    if old:
        older(tmp_path)
    for name in ("config.json", "prompts.json", "tokenizer.json"):
        (tmp_path / "run" / name).unlink()
    tiny.finetune(tmp_path / "run", **flags)
    assert RunConfig.read(tmp_path / "run").fold_captions is not old


# 4) What is no prompt.


@for_each(
    "text, said",
    [("\u200b", "is empty, '\\u200b'"), ("\x00\x00", "is empty, '\\x00\\x00'"), ("\u200b \ufeff", "is empty"),
     ("...", "no letter, digit or emoji, '...'"), ("?!", "no letter"), ("\u3164", "no letter"), ("''", "no letter"),
     (["he walks", "—"], "no letter, digit or emoji, '\\u2014'")],
)  # fmt: skip
def test_characters_that_say_nothing_are_no_prompt(generator, text, said):
    with pytest.raises(ValueError) as caught:
        generator.generate(text)
    assert said in str(caught.value) and "write what the person does" in str(caught.value)


def test_nul_in_a_sentence_is_not_read(generator, monkeypatch):
    a, b = what_is_sampled(generator, monkeypatch, ["a person\x00 walks forward\u200b", "a person walks forward"])
    assert a == b


def test_a_caption_of_training_is_a_prompt_whatever_it_consists_of(tiny, tmp_path):
    entries = [Entry("?", (1, 2, 3)) if e.text == "someone waves" else e for e in load_tokens(tiny.data)]
    save_tokens(tmp_path / "tokens.json", entries, {"codes": 32})
    generator = MotionGenerator(tiny.run, tmp_path / "tokens.json")
    assert set(generator.generate("?").tokens) <= {1, 2, 3}
    with pytest.raises(ValueError, match="no letter"):
        generator.generate("!")


def test_an_invisible_caption_is_refused_before_training(tmp_path):
    path = tmp_path / "tokens.json"
    path.write_text(json.dumps([{"text_query": "\u200b\x00", "motion_tokens": "1"}]))
    with pytest.raises(ValueError, match="entry 0: text_query is missing or empty"):
        load_tokens(path)
