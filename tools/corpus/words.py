"""The words of scenes. The things are 184 nouns picked by hand, each drawn as one object by most emoji sets.

A row of them is `CLDR name > singular | plural`. The singular is left out where it is the CLDR name, the plural where it
adds an s. The order matters: sprites are numbered by it."""

import dataclasses

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "gray", "white")
NUMBERS = ("zero", "one", "two", "three", "four", "five")

_ROWS = {
    "animal": """
        monkey, gorilla, dog, wolf, fox, cat, tiger, leopard, horse, unicorn, deer|deer, cow, pig, goat, camel,
        elephant, rhinoceros|rhinoceroses, mouse|mice, hamster, rabbit, chipmunk, bat, bear, koala, panda, turkey,
        chicken, rooster, baby chick>chick, bird, penguin, dove, eagle, duck, owl, frog, crocodile, turtle, lizard,
        snake, dragon, whale, dolphin, fish|fish, blowfish|blowfish, shark, octopus|octopuses, crab, squid|squid, snail,
        butterfly|butterflies, ant, honeybee>bee, lady beetle>ladybug, spider, scorpion, bug>caterpillar""",
    "plant": """
        sunflower, rose, tulip, cherry blossom, cactus|cacti, palm tree, deciduous tree>tree, evergreen tree>pine tree,
        mushroom, maple leaf|maple leaves""",
    "food": """
        melon, watermelon, lemon, banana, pineapple, red apple>apple, pear, peach|peaches, strawberry|strawberries,
        tomato|tomatoes, avocado, eggplant, carrot, cucumber, potato|potatoes, bread>loaf of bread|loaves of bread,
        croissant, hamburger, pizza>slice of pizza|slices of pizza, hot dog, taco, ice cream|ice creams, doughnut,
        cookie, birthday cake, lollipop, candy>piece of candy|pieces of candy,
        cheese wedge>piece of cheese|pieces of cheese""",
    "drink": """
        wine glass>glass of wine|glasses of wine, beer mug>mug of beer|mugs of beer, baby bottle,
        hot beverage>cup of coffee|cups of coffee, cocktail glass>cocktail""",
    "vehicle": """
        train, bus|buses, ambulance, fire engine>fire truck, police car, taxi, automobile>car, delivery truck>truck,
        tractor, racing car, motorcycle, motor scooter>scooter, bicycle, sailboat, canoe, speedboat, ship, airplane,
        helicopter, rocket""",
    "building": "house, castle, tent, church|churches, hospital, factory|factories",
    "sport": "soccer ball, baseball, basketball, volleyball, american football>football",
    "instrument": "guitar, violin, trumpet, saxophone, drum",
    "clothing": """
        crown, top hat, dress|dresses, t-shirt, backpack, handbag, running shoe>shoe, woman’s boot>boot,
        glasses>pair of glasses|pairs of glasses, ring, jeans>pair of jeans|pairs of jeans, necktie>tie""",
    "object": """
        umbrella, balloon, wrapped gift>present, trophy|trophies, camera, television, telephone, laptop,
        closed book>book, scissors>pair of scissors|pairs of scissors, key, hammer, wrench|wrenches, bomb, light bulb,
        candle, alarm clock, watch|watches, bell, teddy bear, envelope, pill, syringe, toilet, bathtub, door, bed,
        pencil, briefcase, snowman|snowmen, crystal ball, game die>die|dice""",
    "shape": "star, red heart>heart, blue square>square, blue circle>circle",
}

# A model of a few million parameters learns these in an hour of two cores; it does not learn all 184.
CORE = frozenset(name.strip() for name in """
    dog, cat, horse, cow, pig, rabbit, elephant, monkey, bird, duck, fish, whale, turtle, snake, butterfly, bee, spider,
    crab, penguin, frog, owl, apple, banana, lemon, pear, strawberry, carrot, slice of pizza, hamburger, ice cream,
    doughnut, birthday cake, car, bus, train, bicycle, airplane, rocket, sailboat, truck, tractor, house, castle, tent,
    tree, palm tree, cactus, sunflower, rose, mushroom, soccer ball, basketball, guitar, trumpet, drum, crown, top hat,
    shoe, dress, backpack, umbrella, key, camera, book, bell, balloon, present, star, heart""".split(","))

# In training these stand alone, one at a time: test_noun asks for them in groups and beside others.
ONLY_ALONE = ("penguin", "banana", "bicycle", "guitar", "umbrella", "frog", "rocket", "castle", "key", "strawberry",
              "owl", "bus")


@dataclasses.dataclass(frozen=True)
class Noun:
    label: str     # CLDR's name of the emoji
    singular: str
    plural: str
    category: str


def all_nouns() -> list[Noun]:
    nouns = []
    for category, rows in _ROWS.items():
        for row in rows.split(","):
            label, _, words = row.strip().partition(">")
            singular, _, plural = (words or label).partition("|")
            nouns.append(Noun(label.partition("|")[0], singular, plural or singular + "s", category))
    return nouns
