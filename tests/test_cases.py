"""The loops of tests/cases.py and tests/mutations.py lose no case and hide no failure."""

import os

import pytest
import torch
from cases import at_most, for_each
from mutations import check_mutations


def test_every_case_runs_and_every_failure_is_listed(tmp_path):
    seen = []

    @for_each("number, word", [(1, "one"), (2, "two"), (3, "three"), (4, "four")])
    def check(number, word, tmp_path):
        seen.append((number, tmp_path, torch.rand(()).item()))
        assert not list(tmp_path.iterdir())
        (tmp_path / "file").touch()
        assert number != 2, f"wrong {word}"
        if number == 3:
            with pytest.raises(ValueError):
                pass

    with pytest.raises(pytest.fail.Exception) as failure:
        check(tmp_path=tmp_path)
    text = str(failure.value)
    assert text.startswith("2 of 4 cases") and "number=2, word='two'" in text and "AssertionError: wrong two" in text
    assert "number=3, word='three'" in text and "DID NOT RAISE" in text and "number=4" not in text
    assert [number for number, _, _ in seen] == [1, 2, 3, 4]
    assert len({folder for _, folder, _ in seen}) == 4 and len({draw for _, _, draw in seen}) == 1


def test_a_skipped_case_hides_no_failure():
    def check(*kinds):
        @for_each("kind", kinds)
        def run(kind):
            if kind == "skip":
                pytest.skip("not here")
            if kind == "exit":
                raise SystemExit(2)
            assert kind == "good"

        run()

    check("good", "skip")
    with pytest.raises(pytest.skip.Exception, match="not here"):
        check("skip", "skip")
    with pytest.raises(pytest.fail.Exception, match="2 of 4 cases\n.*kind='bad'(.|\n)*kind='exit'"):
        check("bad", "skip", "exit", "good")


def test_two_loops_are_all_pairs():
    seen = []

    @for_each("a", [1, 2])
    @for_each("b", "xy")
    def check(a, b):
        seen.append((a, b))
        assert (a, b) != (2, "y")

    with pytest.raises(pytest.fail.Exception, match="a=2.*\n.*1 of 2 cases\n.*b='y'"):
        check()
    assert seen == [(1, "x"), (1, "y"), (2, "x"), (2, "y")]


@for_each("case", [1, 2])
def test_fixtures_are_still_pytests(case, tmp_path_factory):
    assert case and tmp_path_factory.mktemp("a").is_dir()


@for_each("case", [1, 2])
def test_a_case_sees_nothing_of_the_one_before(case, monkeypatch, capsys):
    assert "CASE" not in os.environ and capsys.readouterr().out == ""
    monkeypatch.setenv("CASE", str(case))
    print(case)


def test_mutations_are_counted_and_their_failures_listed(tmp_path):
    path = tmp_path / "a.bin"

    def check(message="{path} is damaged", **how):
        path.write_bytes(b"sound" * 20)

        def read():
            data = path.read_bytes()
            if data != b"sound" * 20:
                raise ValueError(message.format(path=path))
            return data

        check_mutations(path, read, **how)

    check(least=90)
    with pytest.raises(AssertionError, match="100 were refused"):
        check(most=99)
    with pytest.raises(AssertionError, match=r"copy 0: AssertionError: the file is not named: bad\n.*\n.*copy 2: "):
        check("bad")
    with pytest.raises(AssertionError, match="copy 0: AssertionError: two\nlines"):
        check("two\nlines {path}")
    with pytest.raises(AssertionError, match="copy 3: AssertionError: `also` does not hold"):
        check(also=lambda refused: not refused)
    with pytest.raises(AssertionError, match="copy 1: AssertionError: what was read is not sound"):
        check_mutations(path, path.read_bytes, sound=lambda data: data[:5] == b"sound", least=0, head=5)


def test_work_is_bounded():
    with pytest.raises(AssertionError, match="the sum took .* at most 0.05 s"), at_most(0.05, "the sum"):
        sum(range(20_000_000))
