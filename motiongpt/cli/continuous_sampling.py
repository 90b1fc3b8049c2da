"""scripts/sample.py and scripts/evaluate.py with a continuous model instead of a language model."""

import argparse
from typing import TYPE_CHECKING

from motiongpt.cli.config_file import read_config_file
from motiongpt.cli.continuous_flags import refuse_token_flags
from motiongpt.cli.parser import resolve_config
from motiongpt.cli.prompts import output_places, read_prompts, save_or_say
from motiongpt.config import FlowConfig

if TYPE_CHECKING:
    from motiongpt.continuous.generator import ContinuousGenerator


def open_continuous(args: argparse.Namespace) -> "ContinuousGenerator":
    """The model of --run, and a line that says which it is. ValueError for what only a token model has."""
    from motiongpt.continuous.generator import ContinuousGenerator
    from motiongpt.hub import resolve_folder
    from motiongpt.training.devices import pick_device

    refuse_token_flags(args)
    if not args.run:
        raise ValueError("--model continuous needs --run, a folder that scripts/train_continuous.py wrote")
    folder = resolve_folder(args.run, "run", "scripts/train_continuous.py makes one")
    file = read_config_file(getattr(args, "config", None)).layers()
    how, _ = resolve_config(FlowConfig, args, *file)
    generator = ContinuousGenerator.load(folder, pick_device(args.device), how, getattr(args, "raw", False))
    config = generator.run.config
    if config.head != "flow":
        given = [name for name in FlowConfig.__dataclass_fields__ if getattr(args, name, None) is not None]
        if given:
            flags = ", ".join("--" + name.replace("_", "-") for name in given)
            raise ValueError(f"{flags}: only the flow head is sampled in steps, and {folder} has {config.head}")
    size = sum(p.numel() for p in generator.run.model.parameters()) / 1e6
    print(f"run {folder}: continuous, {config.head} head, {size:.1f} M parameters, text by {config.text_encoder}")
    return generator


def sample_continuous(args: argparse.Namespace, generator: "ContinuousGenerator") -> None:
    """Write a motion for every sentence of --prompt, and save it; with --info, only say what the model is."""
    run = generator.run
    if args.info:
        longest = run.config.max_frames / run.fps
        print(f"{'motions':13}{run.representation.name} at {run.fps:g} fps, up to {longest:.1f} s, {run.skeleton.name}")
        print(f"{'trained on':13}{run.facts.get('clips', '?')} clips")
        return
    requests = read_prompts(args.prompt)
    texts = [request.text for request in requests]
    seconds = [request.seconds(run.fps, args.seconds) for request in requests]
    own = [i for i, value in enumerate(seconds) if value is None]
    if args.seed and run.config.head != "flow":
        print(f"note: --seed changes nothing: the {run.config.head} head draws no random numbers")
    motions = generator.generate(texts, args.seed, seconds)
    for i, (motion, paths) in enumerate(zip(motions, output_places(args.output, texts), strict=True)):
        frames = motion.joints if motion.parameters is None else motion.parameters
        whose = ", the model's own length" if i in own else ""
        print(f"{texts[i]}: {len(frames)} frames, {motion.seconds:.1f} s{whose}")
        for path in paths:
            save_or_say(path, motion.save, args.dry_run)
