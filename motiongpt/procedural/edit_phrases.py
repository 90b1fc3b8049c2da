"""What the sentences of the embedded pairs of motions say: the orders that turn one motion into another.

Every kind of change has two lists. The first says the change alone ("do it faster"), the second
also names the action or the side it is about ("wave the right hand faster"). Fields of a sentence:

    {do} {doing} {does}    the action that changes or is added, as order, gerund, and said of a person
    {old} {old_ing}          the action that goes, as order and gerund
    {kept} {kept_ing}      the action that stays
    {side} {part} {on}     the new side, the limb, "with" or "on"
    {times}                how often, in the end: once, twice, three times
"""

PARTS = {
    "wave": "hand",
    "punch": "hand",
    "throw": "hand",
    "point": "hand",
    "pick_up": "hand",
    "pick_up_both": "hand",
    "wave_both": "hand",
    "salute": "hand",
    "drink": "hand",
    "raise_arm": "arm",
    "raise_both_arms": "arm",
    "kick": "leg",
    "lunge": "leg",
    "hop": "leg",
    "balance": "leg",
    "tree_pose": "leg",
    "warrior_pose": "leg",
    "kneel": "knee",
    "kneel_and_rise": "knee",
}
"""Family of actions -> the limb that has a side. Other sided families have a direction."""

STANDS_ON = ("hop", "balance", "tree_pose", "kneel", "kneel_and_rise")
"""Families that are done on a limb, not with it."""

_TEXTS = {
    "faster": (
        "faster|do it faster|but faster|do that more quickly|speed it up|make it quicker|a bit faster|hurry up|"
        "the same, but faster|now do it quickly|at a higher speed|increase the pace|pick up the pace|take less time",
        "{do} faster|now {do} more quickly|{do}, but faster|speed up when you {do}|make {doing} faster|"
        "{doing} should be faster|be quicker when {doing}|i want you to {do} faster|{doing}, but more quickly|"
        "the same, but {do} faster|now the person {does} faster|{do} at a higher speed",
    ),
    "slower": (
        "slower|do it slower|but slower|do that more slowly|slow it down|make it slower|a bit slower|take your time|"
        "the same, but slower|now do it slowly|at a lower speed|reduce the pace|do not hurry|take more time",
        "{do} slower|now {do} more slowly|{do}, but slower|slow down when you {do}|make {doing} slower|"
        "{doing} should be slower|take more time when {doing}|i want you to {do} slower|{doing}, but more slowly|"
        "the same, but {do} slower|now the person {does} more slowly|{do} at a lower speed",
    ),
    "bigger": (
        "bigger|do it bigger|make it bigger|a bit bigger|with bigger movements|but larger|exaggerate it|"
        "make the movement larger|the same, but bigger|move more|with a larger movement|on a larger scale|"
        "use more space",
        "{do}, but bigger|{do} with bigger movements|now {do} with larger movements|make {doing} bigger|"
        "{doing} should be bigger|exaggerate {doing}|i want you to {do} with a bigger movement|"
        "the same, but {do} with larger movements|put more into {doing}|move more when {doing}|"
        "now the person {does} with bigger movements|use more space to {do}",
    ),
    "smaller": (
        "smaller|do it smaller|make it smaller|a bit smaller|with smaller movements|but less|do it only a little|"
        "make the movement smaller|the same, but smaller|move less|with a smaller movement|on a smaller scale|"
        "use less space",
        "{do}, but smaller|{do} with smaller movements|now {do} with little movements|make {doing} smaller|"
        "{doing} should be smaller|less movement when {doing}|i want you to {do} with a smaller movement|"
        "the same, but {do} with smaller movements|put less into {doing}|move less when {doing}|"
        "now the person {does} with smaller movements|use less space to {do}",
    ),
    "other limb": (
        "{on} the other {part}|now {on} the other {part}|do it {on} the other {part}|but {on} the other {part}|"
        "the same {on} the other {part}|use the other {part}|change the {part}|switch to the other {part}|"
        "swap sides|on the other side|mirror it|use your other {part} instead|"
        "do that again, but {on} the opposite {part}",
        "{on} the {side} {part}|now {on} your {side} {part}|do it {on} the {side} {part}|"
        "but {on} the {side} {part}|use your {side} {part}|now use the {side} {part}|"
        "the same {on} your {side} {part}|{do}|{do} instead|now {do}|the {side} {part}, please|"
        "switch to your {side} {part}|it should be the {side} {part}|no, the {side} {part}",
    ),
    "other way": (
        "the other way|now the other way|go the other way|to the other side|in the other direction|"
        "do it to the other side|but in the opposite direction|the same in the other direction|mirror it|"
        "change the direction|switch sides|now to the opposite side|reverse the direction",
        "to the {side}|now to the {side}|go to the {side}|but to the {side}|do it to the {side}|"
        "the same to your {side}|{do}|{do} instead|now {do}|no, to the {side}|it should be to the {side}|"
        "{side}, please|change the direction to the {side}",
    ),
    "count": (
        "{times}|do it {times}|do that {times}|but {times}|make it {times}|the same, but {times}|"
        "i want to see it {times}|now do it {times}|{times}, please|it should happen {times}|"
        "do this {times} in all|change it to {times}|perform it {times}",
        "{do} {times}|now {do} {times}|{do}, but {times}|you should {do} {times}|the person {does} {times}|"
        "i want you to {do} {times}|let the person {do} {times}|please {do} {times}|{times}, {do}|"
        "{doing} {times}|the same, but {do} {times}|make the person {do} {times} in all",
    ),
    "once more": (
        "once more|one more time|do it one more time|add one more|and again at the end|repeat it once more|"
        "do that once more|add another one|once more, please|one time more than that|"
        "the same, with one more|do it one time more",
        "{do} one more time|{do} once more|now {do} one time more|add one more {doing}|and {do} again at the end|"
        "the same, but {do} once more|i want you to {do} one more time|the person {does} one more time|"
        "repeat {doing} once more|{doing} one more time|one more time, {do}|please {do} once more",
    ),
    "then": (
        "then {do}|and then {do}|then {does}|and then {does}|after that, {do}|afterwards {do}|now also {do}|"
        "and {do} at the end|finally {do}|finish by {doing}|end with {doing}|add {doing} at the end|"
        "the same, then {do}",
        "{kept} and then {do}|{kept}, then {do}|{do} after {kept_ing}|after {kept_ing}, {do}|"
        "when you are done {kept_ing}, {do}|once finished {kept_ing}, {do}|{kept} before {doing}|"
        "first {kept} and then {do}|{kept}, and finally {do}|keep {kept_ing}, but {do} afterwards|"
        "{kept}, after that {do}|let {doing} follow {kept_ing}",
    ),
    "first": (
        "first {do}|{do} first|before that, {do}|but {do} first|but first {do}|start by {doing}|begin with {doing}|"
        "{do} before that|at the beginning, {do}|add {doing} at the start|to begin with, {do}|"
        "the same, but {do} first|{do} at the start",
        "{do} before {kept_ing}|before {kept_ing}, {do}|first {do}, then {kept}|{do} and then {kept}|"
        "before you {kept}, {do}|start by {doing}, then {kept}|begin with {doing} before {kept_ing}|"
        "{kept} after {doing}|{do}, and only then {kept}|keep {kept_ing}, but {do} before it|"
        "after {doing}, {kept}|put {doing} before {kept_ing}",
    ),
    "without second": (
        "without the second action|leave out the second part|stop after the first action|only the first part|"
        "skip the last action|drop the end|do only the first thing|remove the second movement|cut the last part|"
        "end after the first part|not the second one|forget the second part|leave out the end",
        "without {old_ing}|do not {old}|leave out {old_ing}|stop after {kept_ing}|only {kept}|skip {old_ing}|"
        "the same without {old_ing}|just {kept}|end after {kept_ing}|do not {old} at the end|{kept} and stop there|"
        "remove {old_ing}|no {old_ing} at the end",
    ),
    "without first": (
        "without the first action|leave out the first part|only the second part|skip the first action|"
        "drop the beginning|do only the second thing|remove the first movement|cut the first part|"
        "start with the second part|not the first one|forget the first part|leave out the beginning|"
        "begin with the second action",
        "without {old_ing}|do not {old}|leave out {old_ing}|start with {kept_ing}|only {kept}|skip {old_ing}|"
        "the same without {old_ing}|just {kept}|begin with {kept_ing}|do not {old} at the beginning|"
        "{kept} right away|remove {old_ing}|no {old_ing} at the start",
    ),
    "instead second": (
        "{do} instead at the end|in the end, {do} instead|{do} as the second action|replace the second action: {do}|"
        "the second part should be {doing}|change the second action to {doing}|at the end, {do} instead|"
        "the same, but {do} at the end|then {do} instead|end with {doing} instead|"
        "finish by {doing} instead|for the last part, {do}|the last action should be {doing}",
        "{do} instead of {old_ing}|do not {old}, {do}|instead of {old_ing}, {do}|replace {old_ing} by {doing}|"
        "{kept} and then {do} instead of {old_ing}|{kept}, then {do}|do not {old} at the end, but {do}|"
        "after {kept_ing}, {do} instead|{doing} instead of {old_ing}|{doing}, not {old_ing}|"
        "change {old_ing} to {doing}|rather than {old_ing}, {do}",
    ),
    "both": (
        "with both {part}s|use both {part}s|now with both {part}s|but with both {part}s|do it with both {part}s|"
        "the same with both {part}s|with both sides|take both {part}s|not just one {part}, both|"
        "let both {part}s do it|use two {part}s|with two {part}s instead of one|both {part}s, please",
        "{do}|now {do}|{do} instead|not only the {side} {part}, both|add the other {part} to the {side} one|"
        "with the {side} {part} and the other one|i want you to {do}|the same, but {do}|{do} this time|"
        "use the other {part} as well as the {side} one|the person {does}|please {do}|let the person {do}",
    ),
    "one": (
        "with only one {part}|use only one {part}|with one {part}|now with one {part}|but with a single {part}|"
        "do it with one {part}|the same with one {part}|use a single {part}|not both {part}s, just one|"
        "only one {part}, please|leave one {part} out of it|with one {part} instead of two",
        "with only the {side} {part}|use only your {side} {part}|with the {side} {part}|now with your {side} {part}|"
        "but with the {side} {part} only|do it with the {side} {part}|the same with the {side} {part}|"
        "just the {side} {part}|not both {part}s, just the {side} one|only the {side} {part}, please|{do}|"
        "{do} instead|now {do}",
    ),
}
EDIT_PHRASES = {kind: tuple(tuple(text.split("|")) for text in lists) for kind, lists in _TEXTS.items()}
"""Kind of phrases -> (sentences that say the change alone, sentences that name the action or the side)."""
