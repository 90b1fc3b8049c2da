"""Fresh motions of known actions, which no training uses: what the conditions are measured on."""

import zlib
from collections.abc import Iterator, Sequence
from itertools import count, islice

import numpy as np

from motiongpt.procedural.clips import Clip, make_clip
from motiongpt.procedural.performer import SIZES, STYLES, TEMPOS, draw_stance
from motiongpt.procedural.phrases import SIZED
from motiongpt.procedural.sentences import family

FRESH_SEED = 20261121  # of motions that no training uses
MOST_TRIES = 50  # per wanted clip: a slow action may be too long for one


def performances(names: Sequence[str], seed: int = FRESH_SEED, varied: bool = True, **asked) -> Iterator[Clip]:
    """Endless clips of these actions in a row. Styles take turns, and so do tempos and sizes if `varied`.

    `asked` goes to `make_clip`, which takes tempos, sizes, degrees, over and mood. What is too long for a clip is left
    out. Raises ValueError for what no clip can show.
    """
    # crc32 is the same everywhere; Python's own hash of a text differs from run to run
    key = zlib.crc32(" ".join(names).encode())
    left_out = 0
    for index in count():
        rng = np.random.default_rng([seed, key, index])  # a clip depends on these three alone
        manner = {}
        if varied:
            # tempos change with every clip, sizes with every third; some actions have one size only
            manner["tempos"] = tuple(list(TEMPOS)[(index + k) % 3] for k in range(len(names)))
            sizes = [list(SIZES)[(index // 3 + k) % 3] for k in range(len(names))]
            manner["sizes"] = tuple(s if family(n) in SIZED else "normal" for n, s in zip(names, sizes, strict=True))
        stance = draw_stance(rng)
        try:
            clip = make_clip(tuple(names), rng, STYLES[index % len(STYLES)], stance=stance, **(manner | asked))
        except ValueError as error:
            left_out += 1
            if left_out > MOST_TRIES:
                raise ValueError(f"no clips of {' + '.join(names)} fit: {error}") from error
            continue
        left_out = 0
        yield clip


def fresh_clips(names: Sequence[str], number: int, seed: int = FRESH_SEED, **asked) -> list[np.ndarray]:
    """`number` motions of these actions in a row, joints (F, 22, 3); see `performances`."""
    return [clip.joints for clip in islice(performances(names, seed, **asked), number)]
