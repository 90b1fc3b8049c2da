"""Phrases that are true of one angle only, by degrees. `procedural/phrases.py` says how a list is written."""

# Families whose angle can be said, and the phrases that are true of one angle only.
ANGLES = {
    "turn": {
        45: """
            turns {degrees} to the {side} | turns {side} {degrees} | rotates {degrees} to the {side} |
            makes an eighth of a turn to the {side} | makes half a quarter turn to the {side} |
            turns {degrees} {side} | turns {degrees} {wise} | makes a turn of {degrees} to the {side} |
            does a {degrees} turn to the {side} | pivots {degrees} to the {side} |
            turns {the} body {degrees} to the {side} | turns partway to the {side} | turns diagonally to the {side} |
            turns to the {side} by {degrees} | turns by {degrees} to the {side} | turns partly to the {side} |
            turns {degrees} | rotates {degrees} | makes a turn of {degrees} | turns diagonally
        """,
        90: """
            turns {side} | turns {degrees} to the {side} | turns to face the {side} |
            makes a quarter turn to the {side} | makes a quarter turn {side} | does a quarter turn to the {side} |
            turns {side} {degrees} | rotates {degrees} to the {side} | rotates a quarter turn to the {side} |
            turns a quarter to the {side} | makes a {degrees} turn to the {side} |
            does a {degrees} turn to the {side} | turns {degrees} {wise} | makes a quarter turn {wise} |
            turns to the {side} by {degrees} | turns by {degrees} to the {side} | pivots {degrees} to the {side} |
            faces {side} | turns to face {side} | makes a turn of {degrees} to the {side} | does a {side} face |
            rotates to face the {side} | turns {the} body {degrees} to the {side} | turns {degrees} |
            rotates {degrees} | makes a turn of {degrees} | makes a quarter turn | does a quarter turn |
            turns to face the side
        """,
        180: """
            turns {degrees} to the {side} | turns around to the {side} | turns around over the {side} shoulder |
            turns halfway round over the {side} shoulder | does a half turn to the {side} |
            makes a half turn to the {side} | turns {side} {degrees} | rotates {degrees} to the {side} |
            turns halfway around to the {side} | does a one-eighty to the {side} | makes a one-eighty to the {side} |
            turns half around to the {side} | does an about-turn to the {side} | makes an about-face to the {side} |
            turns around {wise} | turns {degrees} {wise} | makes half a turn to the {side} |
            does a {degrees} turn to the {side} | turns to face the other way over the {side} shoulder |
            turns by {degrees} to the {side} | makes a half turn {wise} | makes a u-turn to the {side} |
            turns round to the {side} | makes a turn of {degrees} to the {side} | pivots {degrees} to the {side} |
            turns to the {side} by {degrees}
        """,
        360: """
            turns {degrees} to the {side} | turns a full circle to the {side} | turns in a full circle to the {side} |
            makes a full turn to the {side} | does a full turn to the {side} | makes a complete turn to the {side} |
            turns {side} {degrees} | rotates {degrees} to the {side} | does a three-sixty to the {side} |
            makes a three-sixty to the {side} | takes a full turn to the {side} | turns full circle to the {side} |
            turns completely around to the {side} | makes a whole turn to the {side} | turns {degrees} {wise} |
            rotates a full circle to the {side} | does a {degrees} turn to the {side} |
            turns by {degrees} to the {side} | makes a full turn {wise} | turns all the way round to the {side} |
            makes a full rotation to the {side} | makes a turn of {degrees} to the {side} |
            pivots {degrees} to the {side} | turns to the {side} by {degrees} | turns a full circle |
            turns in a full circle | makes a full turn | does a three-sixty | turns completely around |
            does a full turn | makes a full rotation | makes a three-sixty | turns {degrees} | rotates {degrees}
        """,
    },
    "turn_around": {
        180: """
            turns around | turns {degrees} | rotates {degrees} | does a {degrees} turn | makes a turn of {degrees} |
            does a one-eighty | makes a one-eighty | turns by {degrees} | pivots {degrees}
        """,
    },
    "spin": {
        360: """
            spins to the {side} | spins {degrees} to the {side} | spins a full circle to the {side} |
            spins in a full circle to the {side} | spins {side} {degrees} | does a full spin to the {side} |
            does a {degrees} spin to the {side} | makes a full spin to the {side} | spins around fully to the {side} |
            twirls a full circle to the {side} | twirls {degrees} to the {side} | spins {degrees} {wise} |
            spins all the way around to the {side} | does a full pirouette to the {side} |
            makes a {degrees} spin {side} | spins completely around to the {side} | whirls {degrees} to the {side} |
            spins a full circle | spins all the way around | does a full spin | spins {degrees} | twirls {degrees}
        """,
    },
}
