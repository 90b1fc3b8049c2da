"""What is counted as a noun: "does three squats". `%` is the ending of the plural."""

COUNTED = {
    "bow": "bow%",
    "clap": "clap%",
    "hop": "hop% on {the} {side} leg|jump% on {the} {side} leg",
    "jump": "jump%",
    "jump_forward": "jump% forward|forward jump%",
    "jumping_jacks": "jumping jack%|star jump%",
    "kick": "{side} kick%|kick% with {the} {side} leg",
    "lunge": "{side} lunge%|lunge% with {the} {side} leg",
    "nod": "nod%",
    "punch": "{side} punch%|punch% with {the} {side} hand",
    "shrug": "shrug%",
    "side_bend": "side bend% to the {side}",
    "spin": "spin% to the {side}",
    "squat": "squat%|knee bend%",
    "throw": "throw% with {the} {side} hand",
    "touch_toes": "toe touch%",
}
COUNTED = {name: text.split("|") for name, text in COUNTED.items()}
