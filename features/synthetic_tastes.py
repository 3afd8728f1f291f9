"""The vocabulary of the synthetic shop: what each taste's products are called.

Choices: twelve tastes whose words a text encoder tells apart without training; all brands are made up. Goods wear out,
supplies run out: a shopper buys a good once in a while and a supply again and again.

Knows nothing of shoppers.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Taste:
    """One taste: a name, and the words its items are made of."""

    name: str
    goods: dict[str, float]
    """Product noun → usual price."""
    supplies: dict[str, float]
    """Product noun → usual price, of things bought repeatedly."""
    qualities: tuple[str, ...]
    uses: tuple[str, ...]
    brands: tuple[str, ...]


TASTES = (
    Taste(
        "Trail running",
        {
            "trail running shoes": 120,
            "marathon racing flats": 140,
            "running jacket": 90,
            "hydration vest": 85,
            "GPS running watch": 230,
            "running shorts": 40,
        },
        {"energy gels for runners": 18, "electrolyte tablets": 9, "blister plasters for runners": 7},
        ("lightweight", "cushioned", "waterproof", "reflective", "breathable", "ultra-distance"),
        ("muddy trails and steep hills", "race day", "long runs before work", "winter training runs"),
        ("Fellgate", "Strideway", "Harrow Peak"),
    ),
    Taste(
        "Coffee",
        {
            "espresso grinder": 190,
            "pour-over coffee dripper": 28,
            "espresso machine": 450,
            "milk frothing jug": 22,
            "French press": 35,
            "coffee scale": 45,
        },
        {"roasted coffee beans": 15, "paper coffee filters": 6, "espresso machine cleaning tablets": 12},
        ("stainless steel", "single-origin", "conical burr", "barista", "slow-brew", "dark roast"),
        ("a strong morning espresso", "flat whites at home", "hand-brewed filter coffee", "the office coffee corner"),
        ("Crema & Sons", "Kaldis", "Morning Mill"),
    ),
    Taste(
        "Gardening",
        {
            "pruning shears": 32,
            "raised garden bed": 110,
            "watering can": 27,
            "garden spade": 38,
            "terracotta plant pot": 16,
            "greenhouse": 280,
        },
        {"tomato seeds": 4, "potting compost": 11, "rose fertilizer": 13},
        ("rust-proof", "heirloom", "peat-free", "long-handled", "frost-hardy", "cottage garden"),
        ("vegetable beds", "roses and perennials", "balcony planters", "spring sowing"),
        ("Loam & Leaf", "Greenacre", "Thistledown"),
    ),
    Taste(
        "Baby care",
        {
            "baby stroller": 340,
            "crib mattress": 95,
            "baby monitor": 110,
            "nursing pillow": 42,
            "high chair": 130,
            "baby carrier sling": 75,
        },
        {"newborn diapers": 24, "fragrance-free baby wipes": 8, "infant formula": 27},
        ("organic cotton", "foldable", "hypoallergenic", "machine-washable", "newborn", "toddler"),
        ("sleepless nights", "outings with an infant", "feeding time", "the nursery"),
        ("Tiny Acorn", "Lullabee", "Cradlewood"),
    ),
    Taste(
        "Photography",
        {
            "mirrorless camera": 980,
            "portrait lens": 520,
            "carbon fiber tripod": 210,
            "camera backpack": 120,
            "studio flash": 160,
            "neutral density filter": 65,
        },
        {"black and white film rolls": 14, "lens cleaning wipes": 8, "photo printing paper": 22},
        ("full-frame", "wide-angle", "weather-sealed", "compact", "telephoto", "vintage"),
        ("landscape photographs", "wedding portraits", "night sky exposures", "street photography"),
        ("Lumenfield", "Aperio", "Silverhalide"),
    ),
    Taste(
        "Guitar music",
        {
            "electric guitar": 620,
            "acoustic guitar": 410,
            "tube amplifier": 530,
            "guitar distortion pedal": 95,
            "guitar stand": 24,
            "chord songbook": 19,
        },
        {"guitar strings": 9, "guitar picks": 5, "fretboard oil": 11},
        ("left-handed", "steel-string", "hollow-body", "overdriven", "blues", "six-string"),
        ("bedroom practice", "playing in a band", "recording riffs", "campfire songs"),
        ("Fretwell", "Rosewood Row", "Humbuck"),
    ),
    Taste(
        "Dog keeping",
        {
            "dog leash": 22,
            "orthopedic dog bed": 80,
            "dog harness": 35,
            "puppy crate": 90,
            "squeaky dog toy": 12,
            "dog grooming brush": 18,
        },
        {"dry dog food": 48, "dog chew treats": 10, "dog waste bags": 7},
        ("grain-free", "chew-proof", "large-breed", "puppy", "padded", "reflective"),
        ("walks in the park", "puppy training", "old dogs with stiff joints", "muddy paws"),
        ("Waggerly", "Barkstead", "Houndsworth"),
    ),
    Taste(
        "Skin care",
        {
            "facial cleansing brush": 60,
            "jade face roller": 25,
            "makeup mirror": 48,
            "silk pillowcase": 45,
            "sheet mask gift set": 30,
            "facial steamer": 55,
        },
        {"moisturizing face cream": 26, "vitamin C serum": 34, "mineral sunscreen lotion": 19},
        ("fragrance-free", "hydrating", "anti-aging", "vegan", "soothing", "dermatologist-tested"),
        ("dry and sensitive skin", "the evening beauty routine", "a radiant complexion", "oily skin"),
        ("Dewlight", "Belle Rive", "Pure Petal"),
    ),
    Taste(
        "Fly fishing",
        {
            "fly fishing rod": 210,
            "fishing reel": 130,
            "chest waders": 160,
            "landing net": 45,
            "tackle box": 38,
            "fishing hat": 24,
        },
        {"trout flies": 12, "tapered fishing leader": 7, "fishing line": 16},
        ("river", "saltwater", "carbon", "barbless", "four-piece", "floating"),
        ("trout streams", "salmon rivers", "lake fishing at dawn", "casting from the bank"),
        ("Riverbend", "Castwell", "Mayfly & Co"),
    ),
    Taste(
        "Knitting",
        {
            "bamboo knitting needles": 18,
            "crochet hook set": 22,
            "yarn winder": 48,
            "sweater pattern book": 26,
            "knitting project bag": 30,
            "blocking mats": 28,
        },
        {"merino wool yarn": 12, "cotton embroidery thread": 5, "stitch markers": 6},
        ("hand-dyed", "chunky", "circular", "fair isle", "soft", "cable-knit"),
        ("warm winter sweaters", "baby blankets", "sock knitting", "evenings with needles and wool"),
        ("Purl Lane", "Woolcombe", "Fernspindle"),
    ),
    Taste(
        "Board games",
        {
            "strategy board game": 55,
            "cooperative board game": 48,
            "chess set": 65,
            "jigsaw puzzle": 20,
            "fantasy role-playing rulebook": 45,
            "card game for families": 18,
        },
        {"card sleeves": 6, "trading card booster packs": 5, "polyhedral dice": 10},
        ("two-player", "wooden", "award-winning", "medieval", "party", "fast-paced"),
        ("game night with friends", "rainy family afternoons", "tournament play", "long campaigns"),
        ("Meeplewood", "Dragonvale", "Rook & Pawn"),
    ),
    Taste(
        "Home office",
        {
            "ergonomic office chair": 320,
            "standing desk": 430,
            "mechanical keyboard": 120,
            "monitor arm": 85,
            "desk lamp": 48,
            "noise-canceling headset": 150,
        },
        {"printer ink cartridges": 38, "copy paper": 9, "sticky notes": 5},
        ("adjustable", "wireless", "minimalist", "height-adjustable", "quiet", "space-saving"),
        ("video calls", "long days at the computer", "a tidy workspace", "spreadsheets and reports"),
        ("Deskmate", "Northwall", "Quietworks"),
    ),
)
