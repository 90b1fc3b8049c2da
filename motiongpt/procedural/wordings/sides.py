"""How a side is said behind a phrase that has none: "kicks, using the left leg"."""

_HAND = ", using {the} {side} hand| with {the} {side} hand|, with {the} {side} hand| ({side} hand)|, {side} hand"
_LEG = ", using {the} {side} leg| with {the} {side} leg|, with {the} {side} leg| ({side} leg)|, {side} leg"
_ON = " on {the} {side} leg|, on {the} {side} leg| ({side} leg)| using {the} {side} leg only|, {side} leg only"
_KNEE = " on {the} {side} knee|, {the} {side} knee on the floor| ({side} knee)|, with {the} {side} knee down"
_TO = " to the {side}|, to the {side}| to {the} {side}| towards the {side}| ({side})"
AFTER = {
    **dict.fromkeys(("wave", "punch", "raise_arm", "throw", "point", "pick_up", "salute", "drink"), _HAND),
    **dict.fromkeys(("kick", "lunge", "warrior_pose"), _LEG),
    **dict.fromkeys(("hop", "balance", "tree_pose"), _ON),
    **dict.fromkeys(("kneel", "kneel_and_rise"), _KNEE),
    **dict.fromkeys(("turn", "spin", "walk_circle", "walk_sideways", "side_bend", "look"), _TO),
}
AFTER = {name: tuple(text.split("|")) for name, text in AFTER.items()}


def side_fields(side: str) -> dict[str, str]:
    """What a phrase's fields {side}, {other} and {wise} stand for; `wise` as seen from above."""
    left = side == "left"
    return {"side": side, "other": "right" if left else "left", "wise": "counterclockwise" if left else "clockwise"}
