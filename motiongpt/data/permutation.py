"""A random order of n things that takes no memory, for n too large to list them.

A Feistel network turns a number of 2h bits into another, one to one whatever its round function is (Luby and Rackoff
1988). One that lands at n or above is turned again until it does not: that is a permutation of 0 ... n - 1 (Black and
Rogaway 2002, cycle walking). It takes fewer than four turns on average, as 2^(2h) is the first such power from n on.

    (left, right) -> (right, left XOR mix(right, key))        six rounds, each with its key
"""

import numpy as np

ROUNDS = 6  # four make it pseudo-random if the round function is; two more for one that only mixes well


def permuted(positions: np.ndarray, n: int, keys: np.ndarray) -> np.ndarray:
    """Where a permutation of 0 ... n - 1 puts `positions` (k,), as int64 (k,).

    `keys` (ROUNDS,) uint64 choose the permutation: those of `draw_keys`.
    """
    half = np.uint64(max(1, -(-(n - 1).bit_length() // 2)))  # bits of left and right
    mask = np.uint64((1 << int(half)) - 1)
    values = positions.astype(np.uint64)
    outside = np.ones(len(values), bool)
    while outside.any():
        left, right = values[outside] >> half, values[outside] & mask
        for key in keys:
            left, right = right, left ^ (_mix(right + key) & mask)
        values[outside] = left << half | right
        outside = values >= n
    return values.astype(np.int64)


def draw_keys(rng: np.random.Generator) -> np.ndarray:
    """The keys (ROUNDS,) of a permutation drawn by `rng`."""
    return rng.integers(2**64, size=ROUNDS, dtype=np.uint64)


def _mix(x: np.ndarray) -> np.ndarray:
    """Spread every bit of x (k,) uint64 over all bits: the finaliser of MurmurHash3, which is modulo 2^64."""
    x = (x ^ x >> np.uint64(33)) * np.uint64(0xFF51AFD7ED558CCD)
    x = (x ^ x >> np.uint64(33)) * np.uint64(0xC4CEB9FE1A85EC53)
    return x ^ x >> np.uint64(33)
