"""Captions files of people: other delimiters, headers and names are read, and no text is cut silently."""

import json

import pytest
from cases import for_each

from motiongpt.data.prepare.caption_table import read_captions


def texts(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return {name: [caption.text for caption in row.captions] for name, row in read_captions(path).items()}


@for_each(
    "content",
    [
        'id,caption\nx,"he walks, then turns"\n',
        "id;caption\nx;he walks, then turns\n",
        "id\tcaption\nx\the walks, then turns\n",
        'ID,Caption\nx,"he walks, then turns"\n',
        'id, caption\nx, "he walks, then turns"\n',
        'caption,id\n"he walks, then turns",x\n',
        'id,text\nx,"he walks, then turns"\n',
        'id,caption\r\nx,"he walks, then turns"\r\n',
        "\ufeffid;caption\nx;he walks, then turns\n",
        "id\tcaption\nx\the walks, then turns\n".encode("utf-16"),
    ],
)
def test_tables_that_are_read(tmp_path, content):
    assert texts(tmp_path / "a.csv", content) == {"x": ["he walks, then turns"]}


@for_each(
    "content",
    [
        {"x": "he walks"},
        {"x": {"text": "he walks"}},
        [{"id": "x", "text_query": "he walks"}],
        [{"ID": "x", "Captions": ["he walks"], "source": "mine"}],
        {"captions": [{"id": "x", "caption": "he walks"}]},
        {"captions": {"x": "he walks"}},
    ],
)
def test_objects_that_are_read(tmp_path, content):
    assert texts(tmp_path / "a.json", json.dumps(content)) == {"x": ["he walks"]}


def test_a_clip_that_is_called_captions(tmp_path):
    assert texts(tmp_path / "a.json", '{"captions": ["a", "b"]}') == {"captions": ["a", "b"]}


def test_participant_and_split_need_no_caption(tmp_path):
    assert texts(tmp_path / "a.json", '[{"id": "x", "split": "val"}]') == {"x": []}


@for_each(
    "name, content, message",
    [
        ("a.csv", "id,caption\ny,he sits\nx,a person walks, then turns\n",
         "a.csv, line 3: more than 2 columns; quote captions that hold a comma"),
        ("a.csv", "id;caption\nx;walks; turns\n", "line 2: more than 2 columns; quote captions that hold a semicolon"),
        ("a.csv", "id,caption\nx,café\n".encode("cp1252"), "a.csv is not UTF-8; save it as UTF-8"),
        ("a.json", '{"x": "café"}'.encode("cp1252"), "a.json is not UTF-8; save it as UTF-8"),
        ("a.json", '{"x": "he walks"}'.encode("utf-16"), "a.json is not UTF-8; save it as UTF-8"),
        ("a.json", '[{"id": "x", "words": "he walks"}]', "entry 0: no caption, but words; call the text caption"),
        ("a.csv", "", "must name the columns id and caption, it has nothing"),
    ],
)  # fmt: skip
def test_tables_that_are_refused(tmp_path, name, content, message):
    with pytest.raises(ValueError, match=message):
        texts(tmp_path / name, content)
