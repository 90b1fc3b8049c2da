"""Phrases of walking, running, turning and jumping. `procedural/phrases.py` says how a list is written."""

LOCOMOTION = {
    "walk_forward": """
        walks forward | walks | walks straight ahead | walks ahead | takes a few steps forward |
        moves forward on foot | goes forward on foot | walks in a straight line | steps forward several times |
        walks on | walks along | walks over | walks past | walks forwards | goes for a walk | takes a walk |
        goes for a stroll | takes a stroll | strolls | strolls along | strolls forward | saunters | saunters along |
        wanders | wanders ahead | wanders along | ambles | ambles along | ambles forward | paces ahead |
        paces forward | moves forward | goes forward | steps forward | moves ahead | goes straight ahead |
        heads straight on | heads straight ahead on foot | makes {the} way forward | advances on foot |
        covers some ground on foot | keeps walking | keeps walking ahead | walks to the door |
        walks over to the window | walks up to someone | walks across the room | crosses the room on foot |
        walks down the street | walks along the path | heads for the door on foot | walks toward the camera |
        walks away | sets off on foot | steps ahead | goes on foot | walks home | walks to the table | walks the dog |
        heads off on foot | puts one foot in front of the other
    """,
    "walk_backward": """
        walks backward | walks backwards | walks in reverse | takes a few steps back | steps backward several times |
        moves backward | backs up | goes backward on foot | walks back without turning around | steps back |
        steps backward | steps backwards | goes backward | goes backwards | moves backwards | moves back | backs away |
        backs off | retreats | retreats a few steps | retreats on foot | paces backward | goes in reverse |
        takes several steps backward | takes some steps backwards | walks backward in a straight line |
        walks straight backward | keeps walking backward | keeps stepping back | shuffles backward | strolls backward |
        wanders backward | ambles backwards | makes {the} way backward | goes back without turning |
        backs away from the door | backs away from someone | backs away from the table | backs out of the room |
        moves away backward | walks rearward | moves back on foot | backs up a few steps | steps away backwards |
        walks backward without looking | moves in reverse on foot
    """,
    "walk_circle": """
        walks in a circle to the {side} | walks around in a circle turning {side} | makes a circle to the {side} |
        goes around in a circle to the {side} | walks a loop to the {side} | walks {side} in a circle |
        walks round in a circle to the {side} | walks around in a circle to the {side} | circles to the {side} |
        walks a circle {wise} | walks in a {wise} circle | walks around {wise} | circles {side} |
        walks a circle to the {side} | strolls in a circle to the {side} | paces in a circle to the {side} |
        wanders in a circle to the {side} | ambles in a circle to the {side} | moves in a circle to the {side} |
        goes in a circle to the {side} | goes round in a circle to the {side} | walks in circles to the {side} |
        follows a circle to the {side} | walks along a circle to the {side} | walks in a ring to the {side} |
        walks a lap to the {side} | makes a loop to the {side} | does a lap to the {side} on foot |
        walks in a loop to the {side} | takes a walk in a circle to the {side} | walks {side} around something |
        walks around the table to the {side} | goes around the table {wise} | walks around in a {wise} circle |
        goes around in a circle {wise} | circles {wise} | paces {wise} in a circle | steps around in a circle {wise} |
        goes around something to the {side} on foot | keeps circling to the {side} | walks in a circle | walks around |
        wanders around | walks around in a circle | walks in circles | goes around in a circle | paces in a circle |
        walks a circle | walks in a loop | walks around the table | strolls around in a circle |
        goes in circles on foot
    """,
    "walk_sideways": """
        walks sideways to the {side} | sidesteps to the {side} | steps sideways to the {side} |
        moves sideways to the {side} | takes side steps to the {side} | shuffles to the {side} |
        takes a few steps to the {side} | goes sideways to the {side} | sidesteps {side} | steps to the {side} |
        moves to the {side} | goes to the {side} | walks sideways {side} | moves sideways {side} |
        steps sideways {side} | shuffles sideways to the {side} | shuffles {side} | moves over to the {side} |
        steps over to the {side} | scoots to the {side} | scoots over to the {side} | edges to the {side} |
        edges sideways to the {side} | crab-walks to the {side} | walks like a crab to the {side} |
        moves like a crab to the {side} | walks laterally to the {side} | moves laterally to the {side} |
        takes several side steps to the {side} | takes some sideways steps to the {side} |
        paces sideways to the {side} | strafes {side} | strafes to the {side} | walks to the {side} without turning |
        steps {side} several times | keeps stepping to the {side} | makes side steps to the {side} |
        goes {side} with side steps | steps aside to the {side} | walks sideways | sidesteps | moves sideways |
        steps sideways | takes side steps | shuffles sideways | walks like a crab | goes sideways |
        takes a few steps sideways | steps aside
    """,
    "run": """
        runs forward | runs | runs straight ahead | jogs forward | runs along | goes running | runs ahead |
        runs in a straight line | jogs | jogs along | jogs ahead | jogs straight ahead | goes jogging |
        goes for a run | goes for a jog | takes a run | sprints | sprints ahead | sprints forward | dashes |
        dashes ahead | dashes forward | races ahead | races along | rushes forward | rushes ahead | runs forwards |
        runs on | runs off | runs away | trots along | trots ahead | breaks into a run | keeps running |
        keeps running ahead | does a sprint | makes a dash | makes a run for it | runs to the door | runs for the bus |
        runs across the field | runs down the street | runs toward the camera | runs after someone | charges ahead |
        charges forward | moves forward at a run | runs a race | jogs down the road | runs over to the window
    """,
    "jog_in_place": """
        jogs in place | jogs on the spot | runs in place | runs on the spot | does a jog in place |
        jogs without moving forward | trots on the spot | keeps jogging in place | trots in place | sprints in place |
        sprints on the spot | does running in place | does jogging in place | keeps running on the spot |
        keeps running in place | keeps jogging on the spot | runs without moving forward |
        runs without going anywhere | jogs without going anywhere | jogs without leaving the spot |
        runs without leaving the spot | runs on an imaginary treadmill | jogs on a treadmill | runs on a treadmill |
        warms up by jogging in place | warms up by running on the spot | exercises by jogging on the spot |
        exercises by running in place | goes running on the spot | goes jogging in place | goes on jogging in place |
        goes on running on the spot | does a run in place | does a run on the spot | does a jog on the spot |
        dashes on the spot | performs a jog in place | pretends to run in place | pretends to jog on the spot |
        bounces from foot to foot | jogs in one spot | runs in one spot | goes for a jog in place
    """,
    "march_in_place": """
        marches in place | marches on the spot | walks in place | steps in place | lifts {the} knees in turn |
        steps up and down in place | marches without moving forward | walks on the spot | steps on the spot |
        keeps marching in place | keeps marching on the spot | keeps walking in place | keeps stepping on the spot |
        raises {the} knees in turn | lifts one knee after the other | raises one knee after the other |
        lifts {the} feet in turn | lifts one foot after the other | walks without moving forward |
        walks without going anywhere | marches without going anywhere | marches without leaving the spot |
        walks without leaving the spot | does a march in place | does a march on the spot | does marching in place |
        does knee raises in turn | parades on the spot | parades in place | stomps in place | stomps on the spot |
        tramps on the spot | treads on the spot | treads in place | warms up by marching in place |
        exercises by marching on the spot | marches like a soldier on the spot | marches like a soldier in place |
        performs a march in place | goes on marching in place | pretends to march in place | paces on the spot |
        marches in one spot | walks on a treadmill | steps from foot to foot in place
    """,
    "march_forward": """
        marches forward | marches | marches ahead | marches straight ahead | marches along | marches on | marches off |
        marches forwards | goes marching | keeps marching | keeps marching ahead | keeps marching forward |
        marches in a straight line | marches like a soldier | marches ahead like a soldier | walks like a soldier |
        walks ahead like a soldier | steps forward like a soldier | marches in a parade | walks in a parade | parades |
        parades ahead | parades forward | parades along | parades down the street | marches down the street |
        marches across the yard | marches across the square | marches to the gate | marches to the door |
        marches up to someone | marches away | marches past the crowd | marches with lifted knees |
        walks forward lifting {the} knees | walks ahead lifting {the} knees | walks with raised knees |
        moves forward at a march | moves ahead at a march | goes forward in a march | does a march forward |
        performs a march forward | goes on a march | strides like a soldier | marches in step |
        marches to the beat of a drum
    """,
    "tiptoe": """
        walks on tiptoe | tiptoes | tiptoes forward | tiptoes ahead | tiptoes along | walks on tiptoes |
        walks on {the} tiptoes | walks on {the} toes | walks forward on tiptoe | walks forward on {the} toes |
        walks ahead on tiptoe | goes on tiptoe | goes forward on tiptoe | goes ahead on {the} toes |
        moves forward on tiptoe | moves ahead on tiptoe | moves along on {the} toes | steps forward on tiptoe |
        steps ahead on {the} toes | takes steps on tiptoe | takes a few steps on tiptoe |
        takes several steps on {the} toes | walks on the tips of {the} toes | walks on the balls of {the} feet |
        walks with raised heels | walks with {the} heels up | walks with {the} heels off the floor |
        walks without putting the heels down | keeps walking on tiptoe | stays on {the} toes and walks ahead |
        tiptoes across the room | tiptoes to the door | tiptoes over to the window | tiptoes down the hall |
        tiptoes past the bed | tiptoes through the house | tiptoes up to someone | tiptoes away |
        walks like a ballerina on tiptoe | walks up on {the} toes | strolls on tiptoe | paces on tiptoe |
        crosses the room on tiptoe | makes {the} way forward on tiptoe | walks on tip toe | walks on tippy toes
    """,
    "sneak": """
        sneaks | sneaks forward | sneaks ahead | sneaks along | sneaks up on someone | sneaks up behind someone |
        sneaks away | sneaks off | sneaks around | sneaks into the room | sneaks across the room | sneaks to the door |
        sneaks past the guard | sneaks through the house | creeps | creeps forward | creeps ahead | creeps along |
        creeps up on someone | creeps up behind someone | creeps to the door | creeps across the room |
        creeps through the dark | prowls | prowls along | prowls forward | prowls around | prowls like a cat |
        stalks forward | stalks prey | walks crouched | walks forward crouched | walks ahead in a crouch |
        walks in a crouch | walks bent down | goes forward in a crouch | moves forward in a crouch |
        walks like a thief | walks like a burglar | moves like a thief | slinks along | slinks off |
        keeps sneaking ahead | tries not to be seen | tries not to be heard | steals through the room |
        walks with stealth | moves with stealth
    """,
    "turn": """
        turns {side} | turns to the {side} | makes a {side} turn | rotates to the {side} |
        turns {the} body to the {side} | steps around to the {side} | turns on the spot to the {side} |
        turns in place to the {side} | turns toward the {side} | makes a turn to the {side} | takes a {side} turn |
        does a {side} turn | does a turn to the {side} | rotates {side} | rotates {the} body to the {side} |
        rotates on the spot to the {side} | rotates in place to the {side} | pivots {side} | pivots to the {side} |
        pivots on the spot to the {side} | swivels {side} | swivels to the {side} | swings around to the {side} |
        wheels to the {side} | turns {the} whole body {side} | turns {wise} | rotates {wise} | pivots {wise} |
        turns {wise} on the spot | makes a {wise} turn | makes a turn {side} | turns | makes a turn |
        turns on the spot | turns in place | turns {the} body | rotates on the spot | pivots
    """,
    "turn_around": """
        turns around | turns to the rear | turns to face the other way | makes a half turn | turns back |
        makes an about-face | rotates to face backward | turns to the opposite direction | turns round |
        does a u-turn | makes a u-turn | does an about-turn | makes an about-turn | does an about-face |
        does a half turn | does a half rotation | makes half a turn | turns halfway around | rotates halfway around |
        turns half around | turns to the back | turns to face back | turns to face the back | turns to face behind |
        faces the other way | turns to look behind | turns {the} back to the door | turns {the} back to the camera |
        turns {the} back on someone | turns to face the opposite way | turns the other way |
        turns the other way around | turns the other way round | rotates to face the other way |
        pivots to face the other way | swings around to face the other way | changes direction completely |
        reverses direction | turns about | spins halfway around | pivots halfway around | turns around on the spot |
        turns around in place | turns around to look back | turns around to see who is there |
        turns around to face someone | turns around to go home | turns around to face the door
    """,
    "spin": """
        spins to the {side} | spins {side} | spins around to the {side} | twirls to the {side} | twirls {side} |
        twirls around to the {side} | whirls to the {side} | whirls around to the {side} | pirouettes to the {side} |
        does a spin to the {side} | does a {side} spin | makes a spin to the {side} | does a twirl to the {side} |
        does a pirouette to the {side} | makes a pirouette to the {side} | spins on the spot to the {side} |
        spins in place to the {side} | twirls on the spot to the {side} | twirls in place to the {side} |
        spins like a top to the {side} | spins like a dancer to the {side} | twirls like a ballerina to the {side} |
        spins {the} body to the {side} | spins {wise} | spins around {wise} | spins in a {wise} direction |
        twirls {wise} | twirls around {wise} | whirls {wise} | pirouettes {wise} | does a {wise} spin |
        makes a {wise} spin | does a {wise} twirl | performs a spin to the {side} | performs a {side} pirouette |
        spins on {the} heels to the {side} | spins | spins around | twirls | twirls around | whirls around |
        pirouettes | does a spin | does a twirl | does a pirouette | makes a spin | spins on the spot |
        spins like a top | spins in place
    """,
    "jump": """
        jumps | jumps up | jumps in place | leaps up | does a jump | jumps into the air | makes a jump | springs up |
        leaps | leaps into the air | hops up | bounces | bounces up | bounces in place | jumps on the spot |
        jumps straight up | jumps with both feet | jumps up and down | hops up and down | bounces up and down |
        jumps off the ground | jumps off the floor | takes off from the ground | springs into the air | bounds upward |
        jumps upward | jumps upwards | leaps upward | leaps straight up | does a vertical jump | makes a leap upward |
        does a jump in place | does a jump on the spot | performs a jump | performs a vertical jump |
        takes a jump on the spot | leaps off the ground | jumps for joy | jumps to touch the ceiling |
        jumps to catch a ball | jumps for the basket | jumps to reach something | jumps like a basketball player |
        lifts off the floor with a jump | bounces like a ball | hops with both feet | hops in place with both feet |
        vaults into the air
    """,
    "jump_forward": """
        jumps forward | leaps forward | does a forward jump | makes a jump forward | jumps ahead |
        hops forward with both feet | springs forward | does a jump forward | jumps forwards | leaps ahead |
        bounds forward | bounds ahead | hops forward | hops ahead | hops along | bounces forward | bounces ahead |
        jumps straight ahead | jumps to the front | leaps to the front | makes a leap forward | does a leap forward |
        takes a leap forward | takes a jump forward | makes a jump to the front | performs a jump forward |
        performs a forward jump | performs a forward leap | jumps forward with both feet | jumps ahead with both feet |
        hops forward like a rabbit | hops like a rabbit | hops like a bunny | leaps forward like a frog |
        jumps like a frog | hops like a frog | jumps like a kangaroo | jumps over a puddle | leaps over a puddle |
        jumps over a stone | jumps across a ditch | leaps across a gap | hops over a rope | jumps over something |
        leaps over something | jumps over a log | does a standing forward leap
    """,
    "hop": """
        hops on the {side} leg | hops on {the} {side} foot | jumps on {the} {side} leg | bounces on the {side} leg |
        does hops on the {side} foot | hops using only the {side} leg | jumps on {the} {side} foot only |
        keeps hopping on the {side} leg | hops on the {side} leg only | hops on only the {side} foot |
        hops in place on the {side} leg | hops in place on {the} {side} foot | hops on the spot on the {side} leg |
        hops up and down on the {side} leg | hops up and down on {the} {side} foot | hops about on the {side} foot |
        jumps up and down on the {side} leg | jumps in place on the {side} leg | bounces on {the} {side} foot |
        bounces up and down on the {side} leg | springs on the {side} leg | hops with the {other} foot off the floor |
        hops with {the} {other} leg up | hops with the {other} knee bent | jumps with the {other} leg lifted |
        lifts the {other} foot and hops | lifts {the} {other} leg and hops | raises the {other} foot and hops |
        keeps bouncing on the {side} leg | does hops on the {side} leg | does some hopping on the {side} leg |
        performs hops on the {side} foot | makes hops on the {side} leg | makes hops on {the} {side} foot |
        keeps jumping on the {side} leg | keeps hopping on {the} {side} foot | hops | hops on one leg |
        hops on one foot | jumps on one leg | jumps on one foot | bounces on one leg | keeps hopping on one leg |
        hops in place on one foot | plays hopscotch on one leg
    """,
}
