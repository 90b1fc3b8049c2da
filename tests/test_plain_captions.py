"""plain.json on its way: from the embedded clips into a data set, its mirror images, token entries and a run."""

import json
from dataclasses import replace
from functools import partial

import pytest
from cases import for_each, random_dataset

from motiongpt.body.skeletons import HUMANML3D
from motiongpt.data.mirror import mirror_caption
from motiongpt.data.motions import PLAIN, MotionDataset
from motiongpt.data.prepare.build import build
from motiongpt.data.prepare.options import Options
from motiongpt.data.prepare.records import STYLE_WORDS, loaded, records
from motiongpt.data.raw import Record
from motiongpt.data.tokens import Entry, load_tokens, read_tokens_meta, save_tokens, to_records
from motiongpt.motion_tokenizer import MotionTokenizer
from motiongpt.procedural.clips import generate_clip
from motiongpt.stages.tokenizer import tokenise_dataset


def test_prepare_writes_the_first_caption_of_each_clip_and_of_its_mirror_image(tmp_path, tiny):
    found, _, _ = records("procedural", None, Options(HUMANML3D, count=6))
    build(found, tmp_path / "d", HUMANML3D, "t", mirror=True)
    data = MotionDataset(tmp_path / "d")
    wanted = {clip.id: clip.captions[0] for clip in map(generate_clip, range(6))}
    wanted |= {f"M{name}": mirror_caption(text) for name, text in wanted.items()}
    assert data.plain_captions() == wanted
    assert data.info["styles"] == {who: STYLE_WORDS[who] for who in sorted(data.info["styles"])}

    tokenise_dataset(data, MotionTokenizer.load(tiny.vqvae), tmp_path / "t.json", say=lambda line: None)
    entries = load_tokens(tmp_path / "t.json")
    assert len(entries) > len(wanted) and all(entry.plain == wanted[entry.id] for entry in entries)
    assert read_tokens_meta(tmp_path / "t.json")["styles"] == data.info["styles"]


def test_data_without_plain_captions_is_as_before(tmp_path, tiny):
    data = MotionDataset(random_dataset(tmp_path / "d", ["a", "b", "c"], 2))
    before = data.hash()
    (tmp_path / "d" / "train.txt").write_text("c0\nc1\n")
    assert data.plain_captions() == {} and data.hash() == before
    tokenise_dataset(data, MotionTokenizer.load(tiny.vqvae), tmp_path / "t.json", say=lambda line: None)
    assert "plain" not in (tmp_path / "t.json").read_text() and "styles" not in read_tokens_meta(tmp_path / "t.json")
    (tmp_path / "d" / PLAIN).write_text('{"c0": " a   person walks "}')
    (tmp_path / "d" / "texts" / "c0.txt").write_text("one#one/NUM#0.0#0.0\npart#part/NOUN#0.0#1.0\n")
    assert data.plain_captions() == {"c0": "a person walks"} and data.hash() != before
    tokenise_dataset(data, MotionTokenizer.load(tiny.vqvae), tmp_path / "t.json", say=lambda line: None)
    told = {(entry.id, entry.text): entry.plain for entry in load_tokens(tmp_path / "t.json")}
    assert told == {("c0", "one"): "a person walks", ("c0", "part"): "", ("c1", "b"): "", ("c2", "c"): ""}


def test_a_source_may_have_plain_captions_for_some_clips(tmp_path):
    """A data set built again keeps no plain.json of before."""
    (first, *others), _, _ = records("procedural", None, Options(HUMANML3D, count=4))
    clips = [record.load() for record in (first, *others)]
    bare = [replace(clip, plain="", style="") for clip in clips]

    def build_with(clips, out):
        build([Record(f"c{i}", None, [], partial(loaded, clip)) for i, clip in enumerate(clips)], out, HUMANML3D, "t")
        return MotionDataset(out)

    assert build_with([clips[0], *bare[1:]], tmp_path / "a").plain_captions() == {"c0": clips[0].captions[0]}
    none = build_with(bare, tmp_path / "b")
    assert not (tmp_path / "b" / PLAIN).exists() and "styles" not in none.info


@for_each("content", ['{"c0": 3}', '{"c0": ""}', '{"c0": "\\ud800"}', "[]", "3"])
def test_a_broken_file_is_named(content, tmp_path):
    data = MotionDataset(random_dataset(tmp_path / "d", ["a", "b", "c"], 2))
    (tmp_path / "d" / PLAIN).write_text(content)
    with pytest.raises(ValueError, match="plain.json"):
        data.plain_captions()


def test_entries_keep_their_plain_caption(tmp_path):
    entries = [Entry("he goes", (1, 2), None, "c0", plain="a person walks"), Entry("she", (3,), None, "c1", "val")]
    save_tokens(tmp_path / "t.json", entries, {"codes": 8})
    assert load_tokens(tmp_path / "t.json") == entries and "plain" not in to_records(entries, "t")[1]
    assert repr(entries[0]) == repr(replace(entries[0], plain=""))  # hashes of older data are made of it
    broken = json.loads((tmp_path / "t.json").read_text())
    broken[0]["plain"] = 3
    (tmp_path / "u.json").write_text(json.dumps(broken))
    with pytest.raises(ValueError, match="entry 0: plain must be a sentence"):
        load_tokens(tmp_path / "u.json")
