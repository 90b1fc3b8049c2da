"""Motions as decimal text: the codes 42, 18, 91 are "42,18,91", in the words that a vocabulary has.

Zhang et al. (MotionGPT, AAAI 2024) train so, and their published LoRA writes so.
"""

import re
from functools import lru_cache

from motiongpt.text_tokenizer import TextTokenizer

NUMBER = re.compile("[0-9]+")
OTHER = re.compile("[^0-9, ]+")


def parse_digits(text: str, codes: int) -> tuple[list[int], list[str]]:
    """The codes that a text spells, and a line for each thing that is wrong with it. Any text is read.

    "42,18,999" with a codebook of 512 -> [42, 18], ["1 of 3 numbers is outside the codebook of 512 (0 to 511): 999"]
    """
    numbers = NUMBER.findall(text)
    kept, outside = [], []
    for number in numbers:
        bare = number.lstrip("0") or "0"
        # int() refuses a number of thousands of digits
        if len(bare) <= len(str(codes)) and int(bare) < codes:
            kept.append(int(bare))
        else:
            outside.append(number)
    faults = []
    if outside:
        how_many = f"{len(outside)} of {len(numbers)} numbers {'is' if len(outside) == 1 else 'are'}"
        faults.append(f"{how_many} outside the codebook of {codes} (0 to {codes - 1}): {outside[0][:20]}")
    if found := OTHER.search(text):
        faults.append(f"there is more than numbers and commas: {found[0][:20]!a}")
    if not numbers:
        faults.append("there is no number")
    return kept, faults


@lru_cache(maxsize=8)  # it decodes the whole vocabulary
def ids_made_of(text_tokenizer: TextTokenizer, characters: str) -> tuple[int, ...]:
    """The ids whose text has no characters but these, and those that a text of one of them is encoded as.

    The second kind is for tokenizers with a space before every word, such as T5's: its first token may be the space.
    An unknown token is never among them.
    """
    allowed = set(characters)
    texts = ((i, text_tokenizer.decode([i])) for i in range(text_tokenizer.size))
    ids = {i for i, text in texts if text and set(text) <= allowed}
    ids.update(i for character in characters for i in text_tokenizer.encode(character))
    return tuple(sorted(ids - set(text_tokenizer.added_ids)))


def tokens_per_code(text_tokenizer: TextTokenizer, codes: int) -> int:
    """The most tokens that a code and the comma before it take: 4 in single digits with a codebook of 512."""
    return max(len(text_tokenizer.encode(f",{code}")) for code in range(codes))
