"""What sample.py does for each --task: a sentence or a number to print, a motion to write, or a conversation.

Each function gets the parsed flags and a loaded generator, prints what people should know, and saves what was asked
for. `sample_flags.py` has checked the flags before.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import torch

from motiongpt.cli.environment import outputs_folder
from motiongpt.cli.motion_tokens import motion_token_command
from motiongpt.cli.prompts import Request, format_trace, output_places, read_prompts, save_or_say
from motiongpt.cli.run_info import drawing_note, prompt_notes
from motiongpt.cli.sample_flags import Given, given_codes
from motiongpt.config import SampleConfig
from motiongpt.constraints.spec import Constraints, gather_constraints
from motiongpt.files.store import write_text
from motiongpt.generation.requests import request_room, usual_length
from motiongpt.generation.seams import keep_given
from motiongpt.generation.sequence import CONTEXT, REDONE
from motiongpt.generation.streaming import StreamTiming, look_ahead_error
from motiongpt.generation.understanding import Understood
from motiongpt.generator import MotionGenerator
from motiongpt.motion import Motion
from motiongpt.motion_files import Reading, cleaned, cleaning_line, read_codes
from motiongpt.vqvae import decoder_reach

LONGEST = 300.0  # seconds of a single sentence; more is a typing error
PIECE = 4  # codes or tokens that --dry-run writes at most
TRIED = 8  # samples to choose from if a constraint is given and --best-of is not


def run_task(args: argparse.Namespace, generator: MotionGenerator, how: Reading, config: SampleConfig) -> None:
    """Do what --task asks for."""
    for path in args.output or []:
        if args.task not in TELLS:
            generator.check_output(path)  # before anything is sampled
    if args.chat:
        from motiongpt.cli.chat import chat  # here, as below what few requests need: each import delays all of them

        options = {"participant_id": args.pid, "seconds": args.seconds, "exact_length": args.exact_length}
        options |= {"per_prompt_vocab": not args.no_per_prompt_vocab, "config": config, "read": wants_reading(args)}
        chat(generator, args.output, seed=args.seed, **options)
    elif args.task in TELLS:
        tell(args, TELLS[args.task](args, generator, how, config))
        return
    else:
        write_motions(args, generator, how, config)
    if note := drawing_note(generator, args.output or [outputs_folder()]):
        print(note)


# 1) Answers in words.


def tell(args: argparse.Namespace, answers: Sequence[str]) -> None:
    """Print the answers, and write them to the files of --output."""
    print(*answers, sep="\n")
    for path in args.output or []:
        save_or_say(path, partial(write_text, text="\n".join([*answers, ""])), args.dry_run, f"{PIECE} tokens")


def described(args: argparse.Namespace, generator: MotionGenerator, how: Reading, config: SampleConfig) -> list[str]:
    """m2t: a sentence for --input."""
    codes = read_codes(args.input, generator.motion_tokenizer, how)
    return [generator.describe(codes, args.pid, seed=args.seed, config=config, first=_first(args))]


def measured(args: argparse.Namespace, generator: MotionGenerator, how: Reading, config: SampleConfig) -> list[str]:
    """m2d: how long --input is, by the model."""
    return [_seconds(generator.seconds_of(read_codes(args.input, generator.motion_tokenizer, how)))]


def expected(args: argparse.Namespace, generator: MotionGenerator, how: Reading, config: SampleConfig) -> list[str]:
    """t2d: how long each sentence takes, by the model."""
    return [_seconds(generator.expected_seconds(request.text, args.pid)) for request in read_requests(args)]


def _seconds(value: float | None) -> str:
    return "the model names no length" if value is None else f"{value:.1f} s"


TELLS: dict[str, Callable[..., list[str]]] = {"m2t": described, "m2d": measured, "t2d": expected}


def read_requests(args: argparse.Namespace) -> list[Request]:
    """The sentences of --prompt. ValueError for one that holds codes in another project's way."""
    requests = read_prompts(args.prompt or [])
    if line := motion_token_command([request.text for request in requests], args.task):
        raise ValueError(line)
    return requests


# 2) Motions.


def write_motions(args: argparse.Namespace, generator: MotionGenerator, how: Reading, config: SampleConfig) -> None:
    """Write a motion for every sentence, and save it."""
    requests = read_requests(args)
    prompts = [request.text for request in requests] or [None]
    fps = generator.run.config.fps
    constraints = gather_constraints(args.constraints, args.path, args.reach or (), args.loop, args.in_place)
    check_constrained(generator, constraints)
    given = given_codes(args, generator, how)
    seconds = [request.seconds(fps, args.seconds) for request in requests] or [args.seconds]
    if args.task == "t2m" and not args.codes and not args.then:
        pairs = zip(generator.listener.heard(prompts, args.task, wants_reading(args)), seconds, strict=True)
        seconds = [long_enough(generator, text, length, constraints) for (text, _), length in pairs]
    options = {
        "seed": args.seed,
        "exact_length": args.exact_length,
        "per_prompt_vocab": not args.no_per_prompt_vocab,
        "read": wants_reading(args),
        "config": config,
        "trace": (lambda step, record: print(format_trace(step, record))) if args.trace else None,
    }
    if args.stream:
        motions = [streamed(generator, requests[0], args, seconds[0], options)]
    elif args.then or is_long(args, generator, requests, seconds[0], config):
        motions = [in_sequence(generator, requests, args, seconds[0], options)]
    else:
        options |= {"task": args.task, "given": given.codes, "source": given.source, "first": _first(args)}
        options |= how_many(args, constraints)
        written = generator.generate(prompts, args.pid, seconds=seconds, **options)
        motions = [motion for row in written for motion in row] if args.num_samples > 1 else written

    # a sentence of edit is no caption; one that was read has a note of its own
    guessed = requests and args.task != "edit" and (args.as_written or not generator.listener.reads)
    notes = prompt_notes(generator, prompts, seconds) if guessed else [None] * len(prompts)
    if args.trace and not args.as_written and generator.listener.reads and args.task != "edit":
        print(*(f"{text!r} {reading_details(generator.understand(text))}" for text in prompts if text), sep="\n")
    places = output_places(args.output, [text or args.task for text in prompts], args.num_samples)
    for i, (motion, paths) in enumerate(zip(motions, places, strict=True)):
        if i % args.num_samples == 0 and (note := notes[i // args.num_samples]):
            print(note)
        say_codes(generator, motion)
        if args.trace and motion.joints is not None and not args.raw:
            print("cleaned:", cleaning_line(generator.motion_tokenizer, motion.tokens))
        if not args.dry_run:
            motion = finished(motion, given, constraints, generator)
        for path in paths:
            save_or_say(path, motion.save, args.dry_run, f"{PIECE} codes")


def wants_reading(args: argparse.Namespace) -> bool | None:
    """`read` of `MotionGenerator.generate`: not with --as-written, surely with --reader, else where something can."""
    return False if args.as_written else True if args.reader else None


def reading_details(found: Understood) -> str:
    """For --trace: what a sentence was read as, how surely, and what else it may mean."""
    if found.known:
        return f"is the caption {found.text!r} of training"
    others = f"; or {', '.join(map(repr, found.alternatives))}" if found.alternatives else ""
    return f"is read as {found.text!r}, certainty {found.certainty:.2f}{others}"


def _first(args: argparse.Namespace) -> int | None:
    """How many codes, or tokens of an answer, --dry-run writes; None without it."""
    return PIECE if args.dry_run else None


def check_constrained(generator: MotionGenerator, constraints: Constraints) -> None:
    """ValueError for constraints on motions without joints."""
    motion_tokenizer = generator.motion_tokenizer
    if constraints and (motion_tokenizer is None or not motion_tokenizer.representation.has_joints):
        raise ValueError(f"constraints move joints, and motions of {generator.run.folder} have none")


def long_enough(
    generator: MotionGenerator, text: str | None, seconds: float | None, constraints: Constraints
) -> float | None:
    """The wanted length, or where nobody wants one a length at which the last time of a constraint comes to pass."""
    if seconds is not None or not constraints.seconds:
        return seconds
    each = generator.run.config.seconds_per_code
    usual = usual_length(generator.run, text) * each if text else 0.0
    return max(usual, constraints.seconds + each)


def how_many(args: argparse.Namespace, constraints: Constraints) -> dict[str, object]:
    """How many samples of each sentence to write, and which are kept, as options of `generate`."""
    if args.num_samples > 1:
        return {"samples": args.num_samples}
    if constraints:
        return {"samples": args.best_of or TRIED, "score": partial(fits, constraints)}
    return {"best_of": args.best_of}


def fits(constraints: Constraints, motion: Motion) -> float:
    """A score: 0 for a motion that meets the constraints, below it by the metres that it misses them."""
    from motiongpt.constraints.score import violation

    if motion.joints is None:  # a motion of digits without a code
        return -float("inf")
    return -violation(motion.joints, motion.fps, motion.skeleton, constraints)


def finished(motion: Motion, given: Given, constraints: Constraints, generator: MotionGenerator) -> Motion:
    """The motion with the user's own frames in it, and moved to meet the constraints."""
    if given.features is not None:
        places = [place for place, code in given.codes.items() if motion.tokens[place : place + 1 or None] == (code,)]
        if places:  # all of them, unless motions are digits
            own = motion, given.features, given.own, places
            motion = keep_given(*own, generator.motion_tokenizer, print, generator.raw)
    if constraints and motion.joints is not None:
        from motiongpt.constraints.apply import apply_constraints

        joints, lines = apply_constraints(motion.joints, motion.fps, motion.skeleton, constraints)
        print(*lines, sep="\n")
        cut = len(joints) != len(motion.joints)
        motion = replace(motion, joints=joints, tokens=() if cut else motion.tokens)
        if cut:
            seconds = len(joints) / motion.fps
            print(f"{seconds:.1f} s are left; the codes, of the motion before the cut, are not saved with it")
    return motion


def say_codes(generator: MotionGenerator, motion: Motion) -> None:
    """Print the codes of a motion, and what to know of how it was made."""
    for note in motion.notes:
        print(note)
    code_seconds = generator.run.config.seconds_per_code
    print(f"{len(motion.tokens)} codes of {code_seconds:g} s: {len(motion.tokens) * code_seconds:.1f} s")
    print(motion.tokens_text)
    if not motion.tokens:
        raise ValueError("the model wrote no code, so there is no motion; train it longer, or try another --seed")


# 3) Motions that are written piece by piece.


def is_long(
    args: argparse.Namespace,
    generator: MotionGenerator,
    requests: Sequence[Request],
    seconds: float | None,
    config: SampleConfig,
) -> bool:
    """Whether a single sentence should get a motion that one request has no room for."""
    alone = args.task == "t2m" and len(requests) == 1 and not (args.codes or args.dry_run or args.best_of)
    if seconds is None or not alone or args.num_samples > 1:
        return False
    room = request_room(generator.run, config.max_new_tokens)
    small = room < 2 * (CONTEXT + REDONE)  # then somebody wants a limit, and pieces would be mostly context
    if small or not room * generator.run.config.seconds_per_code < seconds <= LONGEST:
        return False
    print(f"note: {seconds:g} s are more than one request has room for, so this motion is written in several")
    return True


def in_sequence(
    generator: MotionGenerator,
    requests: Sequence[Request],
    args: argparse.Namespace,
    seconds: float | None,
    options: dict,
) -> Motion:
    """--prompt, and every --then after it, as one motion."""
    texts = [*(request.text for request in requests), *args.then]
    options = {name: value for name, value in options.items() if name != "exact_length"}  # each part has its codes
    return generator.sequence(texts, args.pid, seconds=seconds, **options)


def streamed(
    generator: MotionGenerator, request: Request, args: argparse.Namespace, seconds: float | None, options: dict
) -> Motion:
    """--stream: the motion as its frames came out, with a line for each second of it."""
    timing = StreamTiming()
    codes: list[int] = []
    for note in generator.listener.heard([request.text], "t2m", options["read"])[0][1]:
        print(note)
    chunks = generator.stream(
        request.text, args.pid, seconds=seconds, look_ahead=args.look_ahead, timing=timing, codes=codes, **options
    )
    fps = generator.run.config.fps
    frames = torch.cat(list(_told(chunks, fps))).numpy()
    print(timing.line(fps))
    motion_tokenizer = generator.motion_tokenizer
    reach = decoder_reach(motion_tokenizer.config)[1]
    if args.look_ahead is not None and args.look_ahead < reach and motion_tokenizer.representation.has_joints:
        placed, pose = look_ahead_error(motion_tokenizer, [codes], args.look_ahead)
        exact = f"--look-ahead {reach} is exact, {args.look_ahead} puts joints {pose:.1f} mm off the exact pose"
        print(f"{exact}, and {placed:.1f} mm with the body's place")
    if generator.motion_tokenizer.representation.has_joints:
        motion = Motion(frames, fps, codes, request.text, generator.motion_tokenizer.skeleton)
        return motion if args.raw else cleaned(motion)  # the frames came out raw: cleaning looks at the whole motion
    return Motion(None, fps, codes, request.text, parameters=frames)


def _told(chunks: Iterator[torch.Tensor], fps: float) -> Iterator[torch.Tensor]:
    """The chunks of a stream, with a line whenever another second of motion is there."""
    count = 0
    for chunk in chunks:
        before, count = count, count + len(chunk)
        if before // fps != count // fps:
            print(f"{count / fps:.1f} s of motion", flush=True)
        yield chunk
