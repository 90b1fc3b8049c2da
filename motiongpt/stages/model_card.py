"""README.md of an exported stage: plain facts, and a program that runs as it stands.

The program has the ids of the prompt's frame as numbers. Spelled as text, a frame may come out as other ids, as many
tokenizers join a newline with the letter after it.
"""

from pathlib import Path

from motiongpt.files.hashes import known_hash
from motiongpt.stages.model import LoadedRun
from motiongpt.tasks.table import WRITE_TEXT

PROGRAM = """\
import torch
from transformers import AutoTokenizer
from {library} import {model}

folder = "."  # this folder, or the repo id it was uploaded to
tokenizer = AutoTokenizer.from_pretrained(folder)
model = {model}.from_pretrained(folder).eval()

sentence = "a person walks forward"
before, after = {before}, {after}  # the frame of a prompt: <T2M>, no participant, the model's turn
# behind a word, as in training: some tokenizers put a space before the first letter of a text
ids = tokenizer("<MOT_END>" + sentence, add_special_tokens=False)["input_ids"][1:]
prompt = before + ids + after
start = {start}  # <MOT_BEGIN>{decoder}
motion = list(range({end}, {last}))  # <MOT_END> and the {codes} words <motion_N>
written = model.generate(
{inputs}
    prefix_allowed_tokens_fn=lambda row, ids: motion,
    eos_token_id={end},
    min_new_tokens=1,
    max_new_tokens={most},
    do_sample=False,
)[0, {given}:]
print(tokenizer.decode(written))
"""

DECODER_INPUTS = """\
    input_ids=torch.tensor([prompt + start]),
    attention_mask=torch.ones(1, len(prompt + start), dtype=torch.long),"""

ENCODER_INPUTS = """\
    input_ids=torch.tensor([prompt]),
    attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
    decoder_input_ids=torch.tensor([start]),"""


def model_card(loaded: LoadedRun, folder: Path, base: str, kind: str) -> str:
    """The text of README.md for the files that are in `folder`; `kind` is hf or peft, `base` a repo id or a path."""
    config, meta, vocab = loaded.config, loaded.meta, loaded.vocab
    local = Path(base).is_absolute()
    shown = Path(base).name if local else base  # a path of this machine says nothing to others
    adapter = kind == "peft"

    # 1) What Hugging Face reads: only facts that are known.
    lines = ["---", f"library_name: {'peft' if adapter else 'transformers'}"]
    lines += [] if local else [f"base_model: {base}"]
    lines += ["tags:", "- text-to-motion", "---", ""]

    # 2) Where it comes from.
    what = "A LoRA adapter with the rows of its motion words" if adapter else "A whole model, adapters merged"
    lines += [f"# Motion language model on {shown}", ""]
    writes = any(task not in WRITE_TEXT for task in meta["tasks"])
    able = "It writes human motion as" if writes else "It was not trained to write motion, but has the"
    lines += [f"{what}. {able} words `<motion_N>`, which a motion tokenizer turns into poses.", ""]
    tasks = ", ".join(f"{task} {share:g}" for task, share in meta["tasks"].items())
    lines += [f"- base: {shown}{' (a local folder)' if local else ''}; the base keeps its own licence"]
    lines += [f"- recipe {config.recipe}, stage {loaded.stage} ({meta['name']}), tasks {tasks}"]
    how = "as an adapter" if meta["train"] == "lora" else "in full"
    debug = " (a --debug run: expect nothing)" if meta.get("debug") else ""
    lines += [f"- trained {how}, {meta.get('steps', '?')} steps{debug}"]
    if meta.get("loss_vocab") == "motion":
        lines += ["- its loss was over motion words alone: do not let it write text inside a motion, see the program"]
    data = meta.get("data", {})
    sizes = ", ".join(f"{data[split]} {split}" for split in ("train", "val", "test") if split in data)
    licence = data.get("licence") or "not recorded; ask whoever made the data"
    lines += [f"- data: {data.get('file', 'not recorded')} ({sizes}), hash {data.get('hash', '?')}; licence: {licence}"]
    lines += [f"- motion: {config.codes} codes, {config.frames_per_code} frames each at {config.fps:g} fps"]
    people = ", ".join(f"`<PID_{name}>` {vocab.participant_id(name)}" for name in config.participants[:20])
    more = f" and {len(config.participants) - 20} more" if len(config.participants) > 20 else ""
    lines += [f"- participants, as words with their ids: {people or 'none'}{more}", ""]

    # 3) How it is used.
    lines += ["## A sentence to a motion", ""]
    if "t2m" not in meta["tasks"]:
        lines += ["This stage was not trained on text to motion: train it further before you use this program.", ""]
    lines += ["```python", _program(loaded, adapter).rstrip(), "```", ""]
    if config.fold_captions:
        lines += ["Write the sentence in small letters and without a full stop, as in training.", ""]
    person = vocab.participant_id(None)
    lines += [f"For the style of a participant, replace the id {person} in `before` by the participant's.", ""]
    lines += ["## Words to poses", "", _poses(folder), ""]

    # 4) Which files these are.
    lines += ["## Files", "", "| file | hash (first 16 hex digits of SHA-256) |", "|---|---|"]
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".npy"))
    lines += [f"| {path.relative_to(folder).as_posix()} | {known_hash(path)} |" for path in files]
    return "\n".join(lines) + "\n"


def _program(loaded: LoadedRun, adapter: bool) -> str:
    """The program, for a decoder or an encoder-decoder, a whole model or an adapter."""
    vocab, prompts = loaded.vocab, loaded.prompts
    around = loaded.renderer.prompt("t2m", [-1])  # -1 stands for the sentence
    place = around.index(-1)
    encoder = loaded.renderer.encoder
    return PROGRAM.format(
        library="peft" if adapter else "transformers",
        model=f"Auto{'Peft' if adapter else ''}ModelFor{'Seq2SeqLM' if encoder else 'CausalLM'}",
        before=around[:place],
        after=around[place + 1 :],
        start=[loaded.llm.config.start_id, vocab.begin_id] if encoder else [vocab.begin_id],
        decoder=", after the word that the decoder starts with" if encoder else "",
        end=vocab.end_id,
        last=vocab.motion_span[1],
        codes=vocab.codes,
        inputs=ENCODER_INPUTS if encoder else DECODER_INPUTS,
        most=max((known["max"] for known in prompts.captions.values()), default=255) + 1,
        given="len(start)" if encoder else "len(prompt + start)",
    )


def _poses(folder: Path) -> str:
    if not (folder / "vqvae").is_dir():
        return "The motion tokenizer is not in this folder; only the one of the run turns these words into poses."
    return (
        "`vqvae/` is the motion tokenizer. With the project `motiongpt`:\n"
        '`python scripts/render.py --vqvae FOLDER/vqvae --tokens "<motion_42><motion_18>" --output motion.gif`, or in\n'
        "Python `MotionTokenizer.load('FOLDER/vqvae').decode([[42, 18]])`: joints in metres, y up."
    )
