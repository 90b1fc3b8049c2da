"""Fixtures of the whole suite: real data if it is there, the same random numbers for every test, a tiny trained run."""

import importlib.util
import io
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def shared_data() -> Path:
    """The folder of real motion capture and reference outputs beside the checkout. Most users do not have it."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the motion capture and goldens in ../shared/data, which are not part of the project")
    return folder


@pytest.fixture(autouse=True)
def same_start():
    """Every test starts from the same random numbers; one that changes the default dtype does not leak it."""
    torch.manual_seed(0)
    yield
    torch.set_default_dtype(torch.float32)


@dataclass(frozen=True)
class Tiny:
    """A world of 32 codes: a random backbone and motion tokenizer, captions with codes, one trained stage."""

    folder: Path
    backbone: Path
    vqvae: Path
    data: Path
    run: Path

    def finetune(self, out: Path, number: int = 1, killed_after: int | None = None, **changes) -> Path:
        """Train one stage of recipe signmotiongpt for three steps and return its folder. `changes` are fields of Job.

        With `killed_after`, a KeyboardInterrupt stops the step after that many.
        """
        from motiongpt.config import LoRAConfig, TrainConfig
        from motiongpt.loops import train
        from motiongpt.stages.language import prepare_stage
        from motiongpt.stages.plan import Job
        from motiongpt.stages.recipes import RECIPES
        from motiongpt.stages.run_folder import stage_folder

        config = TrainConfig(lr=1e-2, max_steps=3, batch_size=8, eval_every=3, save_every=3, warmup=0.0)
        values = {
            "number": number,
            "name": "test",
            "tasks": RECIPES["signmotiongpt"][number - 1].tasks,
            "out": out,
            "recipe": "signmotiongpt",
            "train_mode": "lora",
            "data": self.data,
            "backbone": str(self.backbone),
            "vqvae": None,
            "foreign": {},
            "source": None,
            "codes": None,
            "dedup": False,
            "think": "auto",
            "fresh": False,
            "resume": False,
            "config": config,
            "lora": LoRAConfig(lora_r=4, lora_alpha=4.0),
        }
        job = Job(**values | changes)
        device = torch.device("cpu")
        stage = prepare_stage(job, device, lambda line: None)
        batches_seen = 0

        def loss(batch):
            nonlocal batches_seen
            if batches_seen == killed_after:
                raise KeyboardInterrupt
            batches_seen += 1
            return stage.loss(batch)

        result = train(
            stage.model,
            stage.batches,
            loss,
            job.config,
            stage_folder(out, number),
            device=device,
            validate=stage.validate,
            decode=stage.decode,
            export=stage.export,
            fingerprint=stage.fingerprint,
            log=lambda line: None,
        )
        stage.finish(result)
        return stage_folder(out, number)


TINY_CAPTIONS = ("a person walks forward", "someone waves", "a person jumps twice", "he sits down", "she turns left")


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Tiny:
    """Built once per worker, in about two seconds. Its weights are barely trained: right shapes, no real motions."""
    from motiongpt.body.skeletons import HUMANML3D
    from motiongpt.config import VQVAEConfig
    from motiongpt.data.tokens import Entry, save_tokens
    from motiongpt.features.normalizer import Normalizer
    from motiongpt.files.hashes import file_hash
    from motiongpt.motion_tokenizer import MotionTokenizer
    from motiongpt.stages.model import StageModel, new_backbone
    from motiongpt.vocab import MotionVocab
    from motiongpt.vqvae import VQVAE

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    world = Tiny(folder, folder / "backbone", folder / "vqvae", folder / "tokens.json", folder / "run")
    llm, words = new_backbone("tiny", list(TINY_CAPTIONS), 0)
    StageModel(llm, words, MotionVocab(words, 32), None, "full", None).save(world.backbone, {})
    (world.backbone / "meta.json").unlink()  # a plain backbone, as from the Hub

    vqvae = VQVAE(VQVAEConfig(codes=32, code_dim=16, width=16, depth=1))
    vqvae.quantizer.codebook.normal_()
    normalizer = Normalizer(np.zeros(263, np.float32), np.full(263, 0.1, np.float32))
    MotionTokenizer(vqvae, normalizer, HUMANML3D, 20.0).save(world.vqvae)

    rng = np.random.default_rng(0)
    entries = []
    for i in range(40):
        text = TINY_CAPTIONS[i % 5]
        low = 4 * (i % 5)  # caption c uses the codes 4 c ... 4 c + 11
        codes = tuple(int(code) for code in rng.integers(low, low + 12, size=8 + i % 5))
        entries.append(Entry(text, codes, f"P{i % 3}", f"clip{i}", "val" if i >= 36 else "train"))
    save_tokens(
        world.data,
        entries,
        {
            "vqvae": file_hash(world.vqvae / "model.safetensors"),
            "codes": 32,
            "fps": 20.0,
            "frames_per_code": 4,
            "skeleton": HUMANML3D.name,
        },
    )
    world.finetune(world.run, 1, vqvae=world.vqvae)
    return world


@pytest.fixture(scope="session")
def generator(tiny):
    """The tiny run, opened for sampling."""
    from motiongpt.generator import MotionGenerator

    return MotionGenerator.load(tiny.run)


@pytest.fixture(scope="session")
def describer(tiny):
    """The tiny run, opened to describe motions. It never learnt that, so its sentences mean nothing."""
    from motiongpt.generator import MotionGenerator

    return MotionGenerator.load(tiny.run, task="m2t")


@dataclass(frozen=True)
class Done:
    """How a script ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def script() -> Callable[..., Done]:
    """`script("sample", "--prompt", ...)` runs scripts/sample.py in this process. A new process takes two seconds."""

    def call(name: str, *args: object) -> Done:
        from motiongpt.cli.parser import run_script

        spec = importlib.util.spec_from_file_location(f"script_{name}", ROOT / "scripts" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        argv, path = sys.argv, list(sys.path)
        sys.argv = [f"{name}.py", *map(str, args)]
        try:
            with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
                spec.loader.exec_module(module)
                with pytest.raises(SystemExit) as end:
                    run_script(module.main, module.make_parser())
        finally:
            sys.argv, sys.path[:] = argv, path
        return Done(end.value.code or 0, out.getvalue(), err.getvalue())

    return call
