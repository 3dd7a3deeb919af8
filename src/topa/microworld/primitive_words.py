"""The words of the temporal primitives: things, places, positions, states and events.

Data only. A noun phrase has no article here; what is said of a thing begins with its verb. Within one entry every noun
and every adjective goes with every position, state or event, so that naming the thing gives nothing away.
"""

from __future__ import annotations

from typing import NamedTuple

COLOURS = (
    *("red", "blue", "green", "yellow", "orange", "purple", "pink", "brown", "black", "white", "grey", "turquoise"),
    *("beige", "dark blue", "light green", "golden"),
)
FURS = ("brown", "black", "grey", "white", "spotted", "small", "young", "large")
LOOKS = ("tall", "short", "fair-haired", "dark-haired", "slim", "smiling", "freckled", "curly-haired")
FRESH = ("ripe", "small", "large", "shiny", "fresh", "freshly washed", "bruised", "round")

INDOORS, OUTDOORS = "indoors", "outdoors"
BOTH = (INDOORS, OUTDOORS)
PLACES = {
    INDOORS: (
        *("kitchen", "workshop", "classroom", "living room", "attic", "studio", "library", "hallway", "waiting room"),
        *("dining room", "cellar", "bakery", "hotel lobby", "greenhouse", "museum", "nursery", "music room", "canteen"),
    ),
    OUTDOORS: (
        *(
            "garden",
            "park",
            "courtyard",
            "playground",
            "market square",
            "farmyard",
            "campsite",
            "schoolyard",
            "orchard",
        ),
        *("village", "harbour", "vineyard", "back yard", "zoo", "valley", "seaside town", "side street", "allotment"),
    ),
}
MOODS = {
    INDOORS: ("bright", "quiet", "tidy", "cluttered", "dimly lit", "spacious", "small", "warm", "half-empty"),
    OUTDOORS: ("sunny", "quiet", "misty", "rainy", "windy", "lonely", "busy", "shady", "snowy"),
}
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TIMES = ("once", "twice", "three times", "four times", "five times")


class Stage(NamedTuple):
    """Where something can move. `axes`: those that are possible there; `rounds`: what it may circle; `view`: how its
    positions are called; `who`: they are persons."""

    where: tuple[str, ...]
    axes: tuple[str, ...]
    movers: tuple[str, ...]
    adjectives: tuple[str, ...]
    grounds: tuple[str, ...]
    looks: tuple[str, ...]
    rounds: tuple[str, ...]
    view: str
    who: bool = False


STAGES = (
    Stage(
        (INDOORS,),
        ("across", "depth", "round"),
        (
            *("ball", "marble", "toy car", "wind-up mouse", "toy tractor", "toy robot", "rubber duck", "cotton reel"),
            *("toy boat", "toy train", "spinning top", "dice cup", "curling stone", "tennis ball", "toy elephant"),
        ),
        COLOURS,
        ("table", "desk", "workbench", "counter", "rug", "carpet", "floor", "mat", "sideboard", "board"),
        ("wooden", "striped", "polished", "dusty", "long", "square", "dark", "pale", "scratched", "wide"),
        ("bowl", "vase", "teapot", "flower pot", "cake tin", "globe", "pile of books", "tin can", "basket", "jug"),
        "ground",
    ),
    Stage(
        (OUTDOORS,),
        ("across", "depth", "round"),
        (
            *("dog", "cat", "hen", "goose", "pony", "goat", "donkey", "hare", "peacock", "lamb", "calf", "fox"),
            *("turkey", "badger"),
        ),
        FURS,
        ("lawn", "car park", "ice rink", "sports field", "driveway", "meadow", "terrace", "dance floor", "sandpit"),
        ("wide", "empty", "wet", "sunlit", "shady", "muddy", "long", "fenced", "uneven"),
        ("fountain", "tree", "statue", "lamp post", "well", "tent", "haystack", "sundial", "flagpole", "rock"),
        "ground",
    ),
    Stage(
        (OUTDOORS,),
        ("across", "depth", "round"),
        ("boy", "girl", "man", "woman", "jogger", "skater", "cyclist", "soldier", "clown", "postman", "nun"),
        LOOKS,
        ("square", "playing field", "lawn", "car park", "ice rink", "sports field", "meadow", "dance floor", "terrace"),
        ("wide", "empty", "wet", "sunlit", "shady", "windswept", "long", "fenced", "uneven"),
        ("fountain", "tree", "statue", "lamp post", "well", "bonfire", "monument", "sundial", "flagpole", "rock"),
        "ground",
        who=True,
    ),
    Stage(
        BOTH,
        ("across", "height", "round"),
        (
            *("spider", "snail", "ladybird", "gecko", "beetle", "ant", "caterpillar", "cockroach", "slug", "lizard"),
            *("earwig", "millipede"),
        ),
        ("small", "large", "black", "brown", "green", "shiny", "pale", "striped", "tiny", "dark"),
        (
            "wall",
            "window pane",
            "door",
            "notice board",
            "screen",
            "garage door",
            "tiled wall",
            "shutter",
            "board fence",
        ),
        ("white", "grey", "tall", "dusty", "blue", "cracked", "clean", "wet", "yellow"),
        ("clock", "round mirror", "poster", "hook", "sign", "thermometer", "keyhole", "sticker", "knot hole", "stain"),
        "upright",
    ),
    Stage(
        BOTH,
        ("across", "height", "depth", "round"),
        (
            *("butterfly", "drone", "balloon", "kite", "paper plane", "soap bubble", "feather", "model plane", "moth"),
            *("dragonfly", "paper lantern", "toy helicopter", "parakeet", "airship", "glider", "hummingbird"),
        ),
        COLOURS,
        (
            "wall",
            "stage",
            "scaffold",
            "row of columns",
            "folding screen",
            "mural",
            "brick arch",
            "staircase",
            "curtain",
        ),
        ("tall", "wide", "grey", "white", "dark", "long", "painted", "narrow"),
        (
            "hanging lantern",
            "weather vane",
            "bell",
            "hanging basket",
            "bird feeder",
            "lamp",
            "disco ball",
            "wind chime",
        ),
        "air",
    ),
)
"""Stages: a mover tells the axes of its stage at most, never the one that it moves on."""


def _mirrored(left: tuple[tuple[str, ...], ...], middle: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    right = [tuple(phrase.replace("left", "right") for phrase in phrases) for phrases in reversed(left)]
    return (*left, middle, *right)


_ACROSS = _mirrored(
    (
        ("near the left edge of {s}", "at the far left of {s}", "close to the left-hand edge of {s}"),
        ("a little to the left of the middle of {s}", "between the left edge and the middle of {s}"),
    ),
    ("in the middle of {s}", "in the centre of {s}", "halfway between the two sides of {s}"),
)
_BEHIND = (
    ("behind {c}", "directly behind {c}"),
    ("behind {c} and to its right", "to the right of {c} and behind it"),
    ("to the right of {c}", "on the right-hand side of {c}"),
    ("in front of {c} and to its right", "to the right of {c} and in front of it"),
    ("in front of {c}", "directly in front of {c}"),
    ("in front of {c} and to its left", "to the left of {c} and in front of it"),
    ("to the left of {c}", "on the left-hand side of {c}"),
    ("behind {c} and to its left", "to the left of {c} and behind it"),
)
_ABOVE = tuple(
    tuple(p.replace("in front of", "below").replace("in front", "below").replace("behind", "above") for p in phrases)
    for phrases in _BEHIND
)
POSITIONS: dict[tuple[str, str], tuple[tuple[str, ...], ...]] = {
    ("ground", "across"): _ACROSS,
    ("ground", "depth"): (
        ("at the far end of {s}", "far away, at the back of {s}"),
        ("in the far half of {s}", "a little beyond the middle of {s}"),
        ("halfway to the far end of {s}", "halfway between the near end and the far end of {s}"),
        ("in the near half of {s}", "a little nearer than the middle of {s}"),
        ("at the near end of {s}", "very close, at the front of {s}"),
    ),
    ("ground", "round"): _BEHIND,
    ("upright", "across"): _ACROSS,
    ("upright", "height"): (
        ("at the very bottom of {s}", "near the lower edge of {s}"),
        ("in the lower part of {s}", "a little below the middle of {s}"),
        ("halfway up {s}", "at half the height of {s}"),
        ("in the upper part of {s}", "a little above the middle of {s}"),
        ("at the very top of {s}", "near the upper edge of {s}"),
    ),
    ("upright", "round"): _ABOVE,
    ("air", "across"): _mirrored(
        (
            ("in front of the left edge of {s}", "in the air at the far left of {s}"),
            ("in front of the left half of {s}", "in the air between the left edge and the middle of {s}"),
        ),
        ("in front of the middle of {s}", "in the air at the centre of {s}"),
    ),
    ("air", "height"): (
        ("in the air at the foot of {s}", "just above the ground in front of {s}"),
        ("in front of the lower part of {s}", "in the air a little below the middle of {s}"),
        ("in the air at half the height of {s}", "in front of {s}, midway between top and bottom"),
        ("in front of the upper part of {s}", "in the air a little above the middle of {s}"),
        ("in the air at the top of {s}", "very high up in front of {s}"),
    ),
    ("air", "depth"): (
        ("far away in the air, close to {s}", "in the distance, just in front of {s}"),
        ("some way off in the air, nearer to {s} than to us", "at some distance, a short way in front of {s}"),
        ("in the air halfway between us and {s}", "midway between us and {s}"),
        ("fairly near in the air, nearer to us than to {s}", "not far from us, some way in front of {s}"),
        ("very near in the air, a long way from {s}", "in the foreground, far in front of {s}"),
    ),
    ("air", "round"): _ABOVE,
}
"""View and axis to the phrases of each position, the first of them for options. Positions go in the direction of the
first course: from the left, from below, from far away, clockwise. {s}: the stage's ground; {c}: what is circled."""
COURSES: dict[str, tuple[str, str, str, str]] = {
    "across": (
        *("from left to right", "from right to left"),
        *("to the right and back to the left", "to the left and back to the right"),
    ),
    "height": ("upwards", "downwards", "up and back down", "down and back up"),
    "depth": (
        *("towards the viewer", "away from the viewer"),
        *("towards the viewer and back", "away from the viewer and back"),
    ),
    "round": (
        *("round in a clockwise direction", "round in an anticlockwise direction"),
        *("round clockwise and back again", "round anticlockwise and back again"),
    ),
}
"""Axis to its courses: forwards, backwards, forwards and back, backwards and back."""


class Turns(NamedTuple):
    """Things that take turns at one spot. `does`: what is said of each there; `who`: they are persons."""

    where: tuple[str, ...]
    nouns: tuple[str, ...]
    adjectives: tuple[str, ...]
    does: tuple[str, ...]
    spots: tuple[str, ...]
    who: bool = False


TURNS = (
    Turns(
        (INDOORS,),
        (
            *("mug", "jug", "teapot", "vase", "bowl", "bottle", "candlestick", "jar", "clock", "lantern", "kettle"),
            *("milk can", "thermos flask", "saucepan", "glass"),
        ),
        COLOURS,
        ("stands on", "is standing on"),
        ("round tray", "wooden stool", "low table", "shelf", "windowsill", "lace mat", "turntable"),
    ),
    Turns(
        (INDOORS,),
        (
            *("hammer", "saw", "screwdriver", "paintbrush", "ruler", "spanner", "chisel", "file", "trowel", "torch"),
            *("whisk", "spatula", "ladle", "peeler", "rolling pin", "sieve", "grater"),
        ),
        ("wooden", "steel", "old", "new", "red", "black", "yellow", "blue", "small", "large"),
        ("is held over", "is in a hand above"),
        ("workbench", "chopping board", "sink", "toolbox", "sheet of newspaper", "wooden crate"),
    ),
    Turns(
        (INDOORS,),
        (
            *("hat", "coat", "jacket", "apron", "backpack", "raincoat", "shirt", "dress", "cap", "handbag", "bathrobe"),
            *("jumper", "waistcoat", "tie"),
        ),
        COLOURS,
        ("hangs on", "is hanging on"),
        ("hook", "coat stand", "clothes rail", "door handle", "chair back", "brass nail"),
    ),
    Turns(
        (INDOORS,),
        (
            *("apple", "pear", "lemon", "banana", "orange", "plum", "peach", "fig", "pineapple", "mango", "tomato"),
            *("cucumber", "aubergine", "onion", "artichoke", "apricot"),
        ),
        FRESH,
        ("lies on", "is lying on"),
        ("white plate", "kitchen scale", "chopping board", "paper napkin", "silver dish", "wooden lid"),
    ),
    Turns(
        BOTH,
        (
            *("cook", "nurse", "painter", "mechanic", "gardener", "police officer", "firefighter", "waiter", "sailor"),
            *("dancer", "farmer", "baker", "engineer", "musician", "actor"),
        ),
        tuple(f"in {colour}" for colour in ("red", "blue", "green", "yellow", "black", "white", "grey", "brown")),
        ("stands beside", "is standing next to"),
        ("red door", "piano", "ticket machine", "tall plant", "long counter", "bicycle", "wooden bench"),
        who=True,
    ),
    Turns(
        (OUTDOORS,),
        (
            *("cat", "dog", "goat", "ram", "donkey", "hen", "goose", "cow", "horse", "rabbit", "fox", "hedgehog"),
            *("alpaca", "otter", "emu"),
        ),
        FURS,
        ("stands beside", "is standing next to"),
        ("garden gate", "water trough", "hay cart", "tree stump", "stone wall", "blue bucket", "milk churn"),
    ),
    Turns(
        (OUTDOORS,),
        (
            *("bus", "tram", "lorry", "van", "taxi", "tractor", "motorcycle", "bicycle", "caravan", "ambulance"),
            *("fire engine", "sports car", "ice cream van", "excavator"),
        ),
        COLOURS,
        ("is parked at", "stands at"),
        ("crossing", "petrol pump", "kerb", "bus stop", "toll booth", "roadside kiosk"),
    ),
)


class Event(NamedTuple):
    """Something that happens and is over again. `on`, `off`: what is said of the thing while it lasts and otherwise;
    `asked` follows "How often", `told` is the statement; {x} is the thing."""

    where: tuple[str, ...]
    nouns: tuple[str, ...]
    adjectives: tuple[str, ...]
    on: tuple[str, ...]
    off: tuple[str, ...]
    asked: str
    told: str
    who: bool = False


_OPEN, _SHUT = ("is open", "stands open", "is wide open"), ("is closed", "is shut", "is firmly closed")
_LIT, _DARK = ("is lit", "is shining", "is glowing brightly"), ("is dark", "is off", "gives no light")
EVENTS = (
    Event(
        (INDOORS,),
        ("cupboard", "drawer", "fridge", "oven", "wardrobe", "laptop", "music box", "safe", "medicine cabinet"),
        ("white", "brown", "old", "small", "grey", "green", "large", "antique"),
        *(_OPEN, _SHUT, "is {x} opened", "{x} is opened"),
    ),
    Event(
        (INDOORS,),
        ("bulb", "candle lamp", "warning light", "string of lights", "reading lamp", "signal lamp", "aquarium lamp"),
        ("red", "yellow", "small", "bare", "old", "green", "bluish", "orange"),
        *(_LIT, _DARK, "does {x} come on", "{x} comes on"),
    ),
    Event(
        (INDOORS,),
        ("boy", "girl", "pupil", "student", "teenager", "apprentice"),
        LOOKS,
        ("has one hand up", "has an arm raised"),
        ("has both hands on a desk", "sits with folded arms"),
        *("does {x} put up a hand", "{x} puts up a hand"),
        who=True,
    ),
    Event(
        (INDOORS,),
        ("man", "woman", "guest", "cellist", "patient", "judge"),
        LOOKS,
        ("is upright in front of an empty chair", "is standing in front of an empty chair"),
        ("is sitting on a chair", "is seated on a chair"),
        *("does {x} stand up", "{x} stands up"),
        who=True,
    ),
    Event(
        (INDOORS,),
        ("cuckoo clock",),
        ("wooden", "carved", "old", "brown", "painted", "small", "black", "antique"),
        ("has its cuckoo out", "has a cuckoo in its open door"),
        ("has its little door shut", "shows no cuckoo"),
        *("does the cuckoo of {x} come out", "the cuckoo of {x} comes out"),
    ),
    Event(
        BOTH,
        ("cat", "kitten", "owl", "parrot", "monkey", "tiger cub"),
        FURS,
        ("has its eyes closed", "has both eyes shut"),
        ("has its eyes open", "has both eyes wide open"),
        *("does {x} close its eyes", "{x} closes its eyes"),
    ),
    Event(
        BOTH,
        ("juggling ball", "cap", "cushion", "coin", "bean bag", "wooden club", "frisbee"),
        ("red", "blue", "small", "striped", "old", "green", "yellow", "white"),
        ("is in the air above two hands", "is in mid-air over a pair of hands"),
        ("is held in two hands", "lies in a pair of hands"),
        *("is {x} thrown up", "{x} is thrown up"),
    ),
    Event(
        BOTH,
        ("hammer", "mallet", "sledgehammer", "axe"),
        ("heavy", "wooden", "old", "iron", "small", "rusty", "shiny", "new"),
        ("is raised high above a block", "is held high over a block of wood"),
        ("rests on a block", "lies with its head on a block of wood"),
        *("is {x} raised", "{x} is raised"),
    ),
    Event(
        (OUTDOORS,),
        ("duck", "swan", "coot", "goose", "flamingo", "heron"),
        FURS,
        ("has its head under water", "has its head below the surface of a pond"),
        ("has its head above the water", "holds its head high over a pond"),
        *("does {x} put its head under water", "{x} puts its head under water"),
    ),
    Event(
        (OUTDOORS,),
        ("level-crossing barrier", "car park barrier", "road barrier", "toll barrier", "border barrier"),
        ("red", "white", "striped", "old", "long", "heavy", "yellow", "narrow"),
        ("is up", "is raised"),
        ("is down", "is lowered"),
        *("is {x} raised", "{x} is raised"),
    ),
    Event(
        (OUTDOORS,),
        ("garden gate", "barn door", "shed", "letter box", "henhouse", "dog kennel", "beach hut", "car boot"),
        ("green", "white", "old", "wooden", "blue", "small", "rusty", "newly painted"),
        *(_OPEN, _SHUT, "is {x} opened", "{x} is opened"),
    ),
    Event(
        (OUTDOORS,),
        ("boy", "girl", "acrobat", "child", "gymnast"),
        LOOKS,
        ("is in the air above a trampoline", "is in mid-air over a trampoline"),
        ("stands on a trampoline", "has both feet on a trampoline"),
        *("does {x} jump", "{x} jumps"),
        who=True,
    ),
    Event(
        (OUTDOORS,),
        ("dolphin", "salmon", "whale", "carp", "sea lion"),
        ("grey", "large", "young", "silvery", "dark", "small", "spotted", "old"),
        ("is in the air above the water", "is in mid-air over the waves"),
        ("is just below the surface of the water", "is in the water"),
        *("does {x} leap out of the water", "{x} leaps out of the water"),
    ),
    Event(
        (OUTDOORS,),
        ("fountain", "sprinkler", "geyser", "fire hydrant"),
        ("small", "large", "old", "round", "lonely", "plain", "bluish", "tall"),
        ("has a jet of water above it", "is under a tall plume of water"),
        ("is without any water", "has no jet of water above it"),
        *("does {x} spout water", "{x} spouts water"),
    ),
    Event(
        (OUTDOORS,),
        ("rabbit", "marmot", "badger", "mole", "meerkat", "hamster"),
        FURS,
        ("is sitting outside its burrow", "is in full view beside its burrow"),
        ("has only its nose outside its burrow", "is inside its burrow up to its nose"),
        *("does {x} come out of its burrow", "{x} comes out of its burrow"),
    ),
    Event(
        (OUTDOORS,),
        ("flag", "pennant", "storm cone", "signal flag", "banner"),
        ("red", "white", "striped", "blue", "yellow", "faded", "green", "chequered"),
        ("is at the top of its pole", "is high up on its pole"),
        ("is at the foot of its pole", "is low down on its pole"),
        *("is {x} hoisted", "{x} is hoisted"),
    ),
    Event(
        (OUTDOORS,),
        ("lighthouse", "street lamp", "beacon", "shop sign", "headlight", "buoy lamp"),
        ("white", "red", "old", "tall", "small", "distant", "yellow", "new"),
        *(_LIT, _DARK, "does {x} come on", "{x} comes on"),
    ),
)


class Amount(NamedTuple):
    """Things of which there are now more, now fewer. `things`: singular and plural; `verb` likewise; `who`: they are
    persons."""

    where: tuple[str, ...]
    things: tuple[tuple[str, str], ...]
    adjectives: tuple[str, ...]
    verb: tuple[str, str]
    on: tuple[str, ...]
    who: bool = False


AMOUNTS = (
    Amount(
        (INDOORS,),
        (
            *(("apple", "apples"), ("pear", "pears"), ("lemon", "lemons"), ("egg", "eggs"), ("walnut", "walnuts")),
            *(("plum", "plums"), ("biscuit", "biscuits"), ("tomato", "tomatoes"), ("potato", "potatoes")),
        ),
        ("small", "large", "fresh", "shiny", "round", "speckled"),
        ("lies", "lie"),
        ("on a white plate", "in a flat basket", "on a wooden board", "on a blue tray", "in a glass dish"),
    ),
    Amount(
        (INDOORS,),
        (
            *(("button", "buttons"), ("coin", "coins"), ("pencil", "pencils"), ("spoon", "spoons"), ("key", "keys")),
            *(("seashell", "seashells"), ("domino", "dominoes"), ("playing card", "playing cards"), ("ring", "rings")),
        ),
        ("small", "large", "silver", "red", "green", "shiny"),
        ("lies", "lie"),
        ("on a black cloth", "on an open book", "in a wooden tray", "on a velvet cushion", "on a sheet of paper"),
    ),
    Amount(
        (INDOORS,),
        (
            *(("book", "books"), ("cup", "cups"), ("wine glass", "wine glasses"), ("box", "boxes")),
            *(("pot plant", "pot plants"), ("trophy", "trophies"), ("teddy bear", "teddy bears"), ("dish", "dishes")),
        ),
        ("small", "large", "blue", "white", "dusty", "old"),
        ("stands", "stand"),
        ("on a narrow shelf", "on a windowsill", "on a chest of drawers", "on a mantelpiece", "on a trolley"),
    ),
    Amount(
        (OUTDOORS,),
        (
            *(("sparrow", "sparrows"), ("pigeon", "pigeons"), ("crow", "crows"), ("seagull", "seagulls")),
            *(("starling", "starlings"), ("blackbird", "blackbirds"), ("magpie", "magpies")),
        ),
        ("small", "large", "grey", "young", "wet", "dark"),
        ("sits", "sit"),
        ("on a wire", "on a tiled roof", "on a railing", "on a bare branch", "on a fence rail", "on a chimney"),
    ),
    Amount(
        (OUTDOORS,),
        (
            *(("cart", "carts"), ("barrel", "barrels"), ("traffic cone", "traffic cones"), ("crate", "crates")),
            *(("deck chair", "deck chairs"), ("flower tub", "flower tubs"), ("scooter", "scooters")),
        ),
        ("small", "large", "green", "yellow", "wet", "old"),
        ("stands", "stand"),
        ("in front of a brick wall", "beside a kiosk", "under a chestnut tree", "along a hedge", "in a parking bay"),
    ),
    Amount(
        (OUTDOORS,),
        (
            *(("child", "children"), ("pensioner", "pensioners"), ("tourist", "tourists"), ("scout", "scouts")),
            *(("fisherman", "fishermen"), ("bricklayer", "bricklayers"), ("woman", "women")),
        ),
        ("cheerful", "tired", "sleepy", "friendly", "silent", "well-dressed"),
        ("sits", "sit"),
        ("on a long bench", "on a low wall", "on a jetty", "on stone steps", "on a tree trunk", "on a picnic blanket"),
        who=True,
    ),
)


class Changing(NamedTuple):
    """A thing with six states that can follow each other in any order; each has its phrases after "is", the first of
    them for options."""

    where: tuple[str, ...]
    nouns: tuple[str, ...]
    adjectives: tuple[str, ...]
    states: tuple[tuple[str, ...], ...]


STATES = (
    Changing(
        (INDOORS,),
        ("towel", "blanket", "tablecloth", "shawl", "bedsheet", "headscarf", "quilt"),
        COLOURS,
        (
            ("folded into a square", "neatly folded"),
            ("crumpled in a heap", "scrunched up"),
            ("spread out flat", "laid out smoothly"),
            ("rolled up tightly", "in a tight roll"),
            ("hung over a chair", "draped over the back of a chair"),
            ("tied in a knot", "knotted in the middle"),
        ),
    ),
    Changing(
        (INDOORS,),
        ("glass jug", "pitcher", "beaker", "measuring cup", "goldfish bowl", "test tube"),
        ("tall", "small", "clear", "large", "greenish", "bluish", "dusty", "narrow"),
        (
            ("completely empty", "without a drop in it"),
            ("a quarter full", "filled to a quarter"),
            ("half full", "filled halfway"),
            ("three quarters full", "filled to three quarters"),
            ("full to the brim", "filled right up"),
            ("tipped on its side", "lying on its side"),
        ),
    ),
    Changing(
        (INDOORS,),
        ("desk lamp", "floor lamp", "table lamp", "ceiling lamp", "night light", "lava lamp"),
        ("small", "tall", "old", "modern", "slender", "round", "plain", "wobbly"),
        (
            ("switched off", "not lit at all"),
            ("glowing white", "lit in white"),
            ("glowing red", "lit in red"),
            ("glowing green", "lit in green"),
            ("glowing blue", "lit in blue"),
            ("glowing violet", "lit in violet"),
        ),
    ),
    Changing(
        (INDOORS,),
        ("cardboard box", "suitcase", "wooden chest", "travel trunk", "picnic hamper", "hatbox"),
        ("brown", "red", "grey", "battered", "large", "small", "green", "shabby"),
        (
            ("closed with its lid", "shut with its lid on"),
            ("open and empty", "open with nothing inside"),
            ("open and full of hats", "open with hats inside"),
            ("tied up with string", "bound with string"),
            ("turned upside down", "resting on its lid"),
            ("covered with a cloth", "hidden under a cloth"),
        ),
    ),
    Changing(
        (INDOORS,),
        ("sheet of paper", "page", "leaflet", "road map", "letter", "poster"),
        ("white", "yellow", "large", "printed", "small", "blue", "lined", "creased"),
        (
            ("lying flat", "flat and smooth"),
            ("folded in half", "folded down the middle"),
            ("crumpled into a ball", "scrunched into a ball"),
            ("rolled into a tube", "rolled up like a tube"),
            ("folded like a fan", "pleated like a fan"),
            ("shaped into a boat", "folded into a boat"),
        ),
    ),
    Changing(
        (INDOORS,),
        ("blackboard", "whiteboard", "flip chart", "slate", "drawing pad"),
        ("large", "small", "old", "wide", "plain", "scratched", "square", "new"),
        (
            ("wiped clean", "completely blank"),
            ("covered with sums", "full of sums"),
            ("marked with a circle", "blank but for a circle"),
            ("marked with a cross", "blank but for a cross"),
            ("marked with a star", "blank but for a star"),
            ("marked with an arrow", "blank but for an arrow"),
        ),
    ),
    Changing(
        (INDOORS,),
        ("lump of clay", "piece of dough", "lump of putty", "lump of plasticine"),
        ("soft", "grey", "large", "smooth", "brownish", "pale", "small", "sticky"),
        (
            ("shaped into a ball", "round like a ball"),
            ("flattened into a disc", "flat like a disc"),
            ("rolled into a rope", "long and thin like a rope"),
            ("pressed into a cube", "square like a cube"),
            ("hollowed into a bowl", "hollow like a bowl"),
            ("drawn into a cone", "pointed like a cone"),
        ),
    ),
    Changing(
        BOTH,
        ("dog", "poodle", "terrier", "spaniel", "puppy", "collie", "greyhound"),
        FURS,
        (
            ("sitting upright", "seated on its haunches"),
            ("lying on its side", "stretched out on its side"),
            ("lying on its back", "on its back with its paws up"),
            ("standing on all fours", "on its four feet"),
            ("curled up in a ball", "rolled up with its nose in its tail"),
            ("on its hind legs", "upright on two legs"),
        ),
    ),
    Changing(
        BOTH,
        ("parasol", "umbrella", "beach umbrella", "sunshade"),
        COLOURS,
        (
            ("folded shut", "closed and upright"),
            ("half open", "opened halfway"),
            ("wide open", "fully open"),
            ("upside down", "open with its point on the ground"),
            ("turned inside out", "blown inside out"),
            ("leaning on a wall", "propped against a wall"),
        ),
    ),
    Changing(
        BOTH,
        ("door", "cellar door", "wooden gate", "double door", "side entrance"),
        ("green", "white", "heavy", "narrow", "old", "brown", "tall", "red"),
        (
            ("closed", "shut"),
            ("open just a crack", "ajar"),
            ("half open", "halfway open"),
            ("wide open", "open all the way"),
            ("barred with a beam", "locked with a heavy beam"),
            ("blocked by a chair", "held shut by a chair"),
        ),
    ),
    Changing(
        (OUTDOORS,),
        ("path", "pavement", "doorstep", "driveway", "forecourt", "footbridge"),
        ("narrow", "stone", "paved", "long", "gravel", "old", "wide", "uneven"),
        (
            ("dry and bare", "dry and swept clean"),
            ("wet with rain", "shiny with rain"),
            ("covered with snow", "white with snow"),
            ("covered with leaves", "buried under dead leaves"),
            ("glazed with ice", "icy all over"),
            ("strewn with sand", "covered with sand"),
        ),
    ),
    Changing(
        (OUTDOORS,),
        ("tent", "marquee", "igloo tent", "field kitchen tent"),
        ("green", "orange", "large", "small", "blue", "faded", "white", "striped"),
        (
            ("packed in its bag", "stowed in a bag"),
            ("laid out on the grass", "flat on the grass"),
            ("half put up", "up on one side only"),
            ("up with its flap shut", "standing with its flap closed"),
            ("up with its flap open", "standing with its flap open"),
            ("covered with a tarpaulin", "hidden under a tarpaulin"),
        ),
    ),
    Changing(
        (OUTDOORS,),
        ("rowing boat", "canoe", "dinghy", "punt", "kayak"),
        ("red", "white", "old", "wooden", "blue", "small", "long", "yellow"),
        (
            ("tied to a jetty", "moored at a jetty"),
            ("pulled up on the shore", "high and dry on the shore"),
            ("turned upside down", "keel up"),
            ("loaded with sacks", "heaped with sacks"),
            ("covered with a sheet", "wrapped in a sheet"),
            ("half full of water", "awash with water"),
        ),
    ),
    Changing(
        (OUTDOORS,),
        ("garden bench", "picket fence", "tool shed", "nesting box", "summer house", "beehive"),
        ("old", "new", "small", "wide", "wooden", "plain", "sturdy", "crooked"),
        (
            ("not painted at all", "of bare wood"),
            ("painted white", "white all over"),
            ("painted red", "red all over"),
            ("painted blue", "blue all over"),
            ("painted green", "green all over"),
            ("painted yellow", "yellow all over"),
        ),
    ),
    Changing(
        BOTH,
        ("picnic table", "trestle table", "camping table", "folding table"),
        ("long", "round", "old", "wooden", "square", "white", "low", "green"),
        (
            ("cleared and bare", "completely bare"),
            ("set for a meal", "laid with plates and forks"),
            ("covered with papers", "littered with papers"),
            ("covered with a cloth", "under a white cloth"),
            ("piled with books", "heaped with books"),
            ("strewn with toys", "littered with toys"),
        ),
    ),
)
PROCESSES = (
    Changing(
        BOTH,
        ("candle", "pillar candle", "beeswax candle"),
        ("red", "white", "yellow", "thick", "green", "pink"),
        (
            ("new and unlit",),
            ("lit and almost new",),
            ("a third burnt down",),
            ("half burnt down",),
            ("burnt to a stub",),
            ("burnt out",),
        ),
    ),
    Changing(
        (INDOORS,),
        ("banana",),
        ("large", "small", "curved", "straight", "single", "plump"),
        (
            ("entirely green",),
            ("greenish yellow",),
            ("bright yellow",),
            ("yellow with brown spots",),
            ("mostly brown",),
            ("black all over",),
        ),
    ),
    Changing(
        BOTH,
        ("ice sculpture", "snowman", "block of ice", "ice swan"),
        ("small", "large", "smooth", "lonely", "handsome", "round"),
        (
            ("whole and firm",),
            ("slightly melted",),
            ("half melted",),
            ("mostly melted",),
            ("just a small lump",),
            ("nothing but a puddle",),
        ),
    ),
    Changing(
        BOTH,
        ("cake", "loaf of bread", "apple pie", "cheese", "quiche", "watermelon"),
        ("round", "large", "small", "fresh", "home-made", "golden"),
        (
            ("whole and uncut",),
            ("missing one slice",),
            ("missing a quarter",),
            ("half eaten",),
            ("down to one slice",),
            ("nothing but crumbs",),
        ),
    ),
    Changing(
        (INDOORS,),
        ("soup plate", "porcelain vase", "piggy bank", "flower pot", "serving dish"),
        ("white", "blue", "painted", "old", "large", "small"),
        (
            ("whole and sound",),
            ("chipped at the rim",),
            ("cracked right through",),
            ("broken in two",),
            ("broken into many bits",),
            ("swept into a dustpan",),
        ),
    ),
    Changing(
        BOTH,
        ("bed sheet", "T-shirt", "pillow case", "blouse", "tea towel"),
        ("white", "red", "blue", "striped", "green", "yellow"),
        (
            ("dripping wet",),
            ("wet but not dripping",),
            ("damp all over",),
            ("damp at the seams only",),
            ("dry and creased",),
            ("dry and ironed",),
        ),
    ),
    Changing(
        BOTH,
        ("rose", "tulip", "peony", "poppy", "amaryllis", "lily"),
        ("single", "red", "pink", "white", "tall", "yellow"),
        (
            ("in tight bud",),
            ("in half-open bud",),
            ("in full bloom",),
            ("missing some petals",),
            ("limp and faded",),
            ("brown and dried up",),
        ),
    ),
    Changing(
        (OUTDOORS,),
        ("sandcastle", "sand pyramid", "sand tower"),
        ("small", "large", "tall", "proud", "round", "splendid"),
        (
            ("whole and smooth",),
            ("chipped at one corner",),
            ("cracked on one side",),
            ("half washed away",),
            ("mostly washed away",),
            ("just a flat heap",),
        ),
    ),
    Changing(
        BOTH,
        ("tomato", "pepper", "cherry tomato"),
        ("single", "plump", "smooth", "heavy", "fine", "home-grown"),
        (
            ("small and green",),
            ("full-grown but green",),
            ("yellow on one side",),
            ("orange all over",),
            ("deep red",),
            ("red and wrinkled",),
        ),
    ),
)
"""Things whose six states come in this order only."""
