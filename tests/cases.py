"""What many tests use: a table of cheap cases in one test, a bound on the work of a block, a seeded generator."""

import functools
import inspect
import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch


def for_each(names: str, cases: Iterable) -> Callable:
    """`pytest.mark.parametrize` in one test: every case runs, and a failure lists all failing ones with their values.

    A case starts as a test of its own would: random numbers from the same seed, an empty `tmp_path`, nothing patched,
    nothing printed. Stay with parametrize if cases are slow, need separate names, or change another fixture.
    """
    fields = [name.strip() for name in names.split(",")]
    cases = list(cases)
    assert cases

    def decorate(test: Callable) -> Callable:
        @functools.wraps(test)
        def run_all(**fixtures) -> None:
            failures, skips = [], []
            for i, case in enumerate(cases):
                values = dict(zip(fields, case if len(fields) > 1 else [case], strict=True))
                torch.manual_seed(0)
                try:
                    with fresh(fixtures, i) as inputs:
                        test(**inputs, **values)
                except pytest.skip.Exception as reason:  # a case that cannot run must not hide one that failed
                    skips.append(reason)
                except (Exception, pytest.fail.Exception, SystemExit) as error:  # the last two are no Exceptions
                    failures.append(describe(values, error))
                finally:
                    torch.set_default_dtype(torch.float32)
            if failures:
                pytest.fail(f"{len(failures)} of {len(cases)} cases\n" + "\n".join(failures), pytrace=False)
            if len(skips) == len(cases):
                raise skips[0]

        # pytest reads the names of fixtures off the signature
        signature = inspect.signature(test)
        left = [parameter for name, parameter in signature.parameters.items() if name not in fields]
        run_all.__signature__ = signature.replace(parameters=left)
        return run_all

    return decorate


@contextmanager
def fresh(fixtures: dict, number: int) -> Iterator[dict]:
    """The fixtures of case `number`: those of pytest that a case changes are as new."""
    inputs = dict(fixtures)
    if "tmp_path" in inputs:
        inputs["tmp_path"] = fixtures["tmp_path"] / str(number)
        inputs["tmp_path"].mkdir()
    if "capsys" in inputs:
        inputs["capsys"].readouterr()
    with pytest.MonkeyPatch.context() as patch:
        if "monkeypatch" in inputs:
            inputs["monkeypatch"] = patch
        yield inputs


def describe(values: dict, error: BaseException) -> str:
    """The case, the place of the last line outside libraries, and the error."""
    given = ", ".join(f"{name}={value!r}"[:200] for name, value in values.items())
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}"
    return f"[{given}] {where}\n    {type(error).__name__}: {error}".replace("\n", "\n    ")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@contextmanager
def at_most(seconds: float, what: str = "this") -> Iterator[None]:
    """The block may work so long. It counts processor time, also that of child processes that have ended, so that a
    busy machine does not fail a test. A block that waits for ever is ended by pytest's faulthandler_timeout."""
    start = sum(os.times()[:4])
    yield
    took = sum(os.times()[:4]) - start
    assert took < seconds, f"{what} took {took:.1f} s of work, at most {seconds} s"


def random_dataset(folder: Path, captions: list[str], training: int) -> Path:
    """A dataset folder with one random clip per caption; the first `training` are to train on, the rest for validation.

    Clip i has 50 + 7 i frames of 263 features.
    """
    rng = np.random.default_rng(0)
    for sub in ("new_joint_vecs", "texts"):
        (folder / sub).mkdir(parents=True)
    names = [f"c{i}" for i in range(len(captions))]
    for i, (name, caption) in enumerate(zip(names, captions, strict=True)):
        clip = 0.1 * rng.standard_normal((50 + 7 * i, 263))
        np.save(folder / "new_joint_vecs" / f"{name}.npy", clip.astype(np.float32))
        (folder / "texts" / f"{name}.txt").write_text(f"{caption}#walk/VERB#0.0#0.0\n")
    (folder / "train.txt").write_text("\n".join(names[:training]) + "\n")
    (folder / "val.txt").write_text("\n".join(names[training:]) + "\n")
    np.save(folder / "Mean.npy", np.zeros(263, np.float32))
    np.save(folder / "Std.npy", np.ones(263, np.float32))
    return folder
