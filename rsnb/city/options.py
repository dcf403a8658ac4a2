"""What a user may choose about the city, and what follows from it: the plan of districts and their characters."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from rsnb.errors import InputError
from rsnb.scenes import Georeference, SemanticClass

# Model coordinates are Helsinki's: EPSG:3879 easting and northing minus this origin, heights in metres.
GEOREFERENCE = Georeference(crs="EPSG:3879", origin=(25490000.0, 6668000.0, 0.0))
CITY_ORIGIN = (6000.0, 4500.0)  # south-west corner of the core of district (0, 0), on the 250 m tile grid
CORE_M = 500.0
BELT_M = 50.0
PITCH_M = CORE_M + BELT_M
N_DISTRICTS = 4  # along each axis: 4 x 550 m = 2.2 km

GRASS, TREE, BUILDING, WATER, ROAD, PAVEMENT, LANE_MARKING, CAR = range(1, 9)
CLASSES = (
    SemanticClass(GRASS, "grass", (124, 179, 66)),
    SemanticClass(TREE, "tree", (27, 94, 32)),
    SemanticClass(BUILDING, "building", (214, 134, 76)),
    SemanticClass(WATER, "water", (33, 150, 243)),
    SemanticClass(ROAD, "road", (84, 84, 92)),
    SemanticClass(PAVEMENT, "pavement", (189, 183, 174)),
    SemanticClass(LANE_MARKING, "lane_marking", (255, 241, 118)),
    SemanticClass(CAR, "car", (216, 27, 96)),
)


@dataclass(frozen=True)
class CityOptions:
    """The few choices about the city; the same options give the same bytes.

    Attributes:
        seed: every random number of the city comes from it.
        relief_m: lowest to highest ground inside a district, before the water is levelled, metres (5.5 to 20).
        tree_spacing_m: distance between street trees along a kerb, metres (5 to 30).
        parked_share: share of the parking bays that hold a car, 0..1.
    """

    seed: int = 7
    relief_m: float = 8.0
    tree_spacing_m: float = 9.0
    parked_share: float = 0.45

    def __post_init__(self):
        for name, low, high in (("relief_m", 5.5, 20.0), ("tree_spacing_m", 5.0, 30.0), ("parked_share", 0.0, 1.0)):
            value = getattr(self, name)
            if not (isinstance(value, (int, float)) and low <= value <= high):
                raise InputError(f"{name} is {value!r}, expected a number from {low} to {high}", where="CityOptions")
        if isinstance(self.seed, bool) or not isinstance(self.seed, (int, np.integer)) or self.seed < 0:
            raise InputError(f"seed is {self.seed!r}, expected a whole number >= 0", where="CityOptions")


@dataclass(frozen=True)
class Character:
    """The recipe of one kind of district; lengths in metres, shares 0..1.

    Attributes:
        name: shown in tables.
        turn_deg: street grid against north, drawn from this range.
        spacing: (low, high) distance between streets, per grid direction.
        storeys: (low, high) of ordinary buildings.
        width, depth: (low, high) of a footprint, along and across the street.
        gap: between neighbours along a street; 0 is a closed street wall.
        setback: of the front from the building line (front gardens).
        towers, shed_blocks: how many blocks are high-rise, how many hold sheds.
        roofs: weights of roof types for ordinary buildings.
        water: "canal", "pond" or "basin".
        park_blocks: (across, along) blocks that merge into the park.
        diagonal: whether an avenue crosses the grid.
        shops: share of street fronts with a shop.
        facades: names of facade designs.
        yard: ground of the yards, "grass" or "paving".
        church: whether the first high-rise block holds a church instead.
    """

    name: str
    turn_deg: tuple[float, float]
    spacing: tuple[tuple[float, float], tuple[float, float]]
    storeys: tuple[int, int]
    width: tuple[float, float]
    depth: tuple[float, float]
    gap: float
    setback: float
    towers: int
    shed_blocks: int
    roofs: dict[str, float]
    water: str
    park_blocks: tuple[int, int]
    diagonal: bool
    shops: float
    facades: tuple[str, ...]
    yard: str
    church: bool = False


OLD_TOWN = Character(
    "old town", (8, 16), ((84, 104), (74, 92)), (3, 6), (13, 22), (11, 13.5), 0.0, 0.0, 1, 1,
    {"gable": 0.32, "mansard": 0.28, "hip": 0.2, "flat": 0.2}, "canal", (1, 1), True, 0.6,
    ("stucco", "ochre", "brick_red", "stone", "art_nouveau", "brick_dark", "mint", "office_stone"), "paving", True)
GARDEN = Character(
    "garden suburb", (-24, -12), ((96, 118), (72, 88)), (1, 3), (10, 14), (9, 11), 8.0, 5.0, 2, 1,
    {"gable": 0.4, "hip": 0.3, "shed": 0.12, "flat": 0.18}, "pond", (1, 2), True, 0.05,
    ("timber", "plaster_white", "ochre", "brick_red", "mint", "panel", "balcony"), "grass")
BUSINESS = Character(
    "business", (2, 7), ((100, 122), (90, 108)), (4, 8), (20, 34), (15, 18), 5.0, 2.0, 5, 1,
    {"flat": 0.4, "stepped": 0.3, "shed": 0.2, "hip": 0.1}, "basin", (1, 1), True, 0.7,
    ("curtain", "curtain_green", "office_stone", "panel", "balcony", "stone", "loft"), "paving")
WORKS = Character(
    "works", (-9, -3), ((104, 128), (88, 108)), (2, 5), (16, 28), (13, 17), 6.0, 3.0, 1, 6,
    {"flat": 0.3, "gable": 0.3, "shed": 0.28, "hip": 0.12}, "basin", (1, 1), False, 0.2,
    ("loft", "brick_dark", "panel", "plaster_white", "balcony", "brick_red"), "paving")
SLABS = Character(
    "lakeside slabs", (14, 26), ((104, 124), (90, 112)), (4, 7), (24, 42), (11, 13), 14.0, 5.0, 3, 1,
    {"flat": 0.36, "gable": 0.22, "shed": 0.2, "hip": 0.22}, "pond", (2, 2), True, 0.15,
    ("balcony", "panel", "plaster_white", "brick_red", "mint", "loft"), "grass")
QUARTER = Character(
    "market quarter", (-16, -8), ((80, 100), (72, 92)), (3, 6), (12, 20), (10.5, 13), 0.0, 0.0, 2, 1,
    {"gable": 0.3, "hip": 0.25, "flat": 0.25, "stepped": 0.2}, "canal", (1, 1), True, 0.5,
    ("ochre", "stucco", "brick_red", "mint", "stone", "balcony", "plaster_white"), "grass", True)

# PLAN[i][j]: i counts east, j counts north from district (0, 0).
PLAN = (
    (OLD_TOWN, QUARTER, SLABS, GARDEN),
    (BUSINESS, OLD_TOWN, GARDEN, SLABS),
    (WORKS, BUSINESS, QUARTER, GARDEN),
    (WORKS, SLABS, BUSINESS, OLD_TOWN),
)


def check_index(index) -> tuple[int, int]:
    """A district index as two ints in 0..3, or an `InputError` that says so."""
    try:
        i, j = (int(k) for k in index)
    except (TypeError, ValueError):
        raise InputError(f"district index {index!r} is not a pair of whole numbers", where="index") from None
    if not (0 <= i < N_DISTRICTS and 0 <= j < N_DISTRICTS):
        raise InputError(f"there is no district ({i}, {j})", where="index",
                         mend=f"Both numbers go from 0 to {N_DISTRICTS - 1}; the first counts east, the second north")
    return i, j


def core_bounds(index=(0, 0)) -> tuple[float, float, float, float]:
    """(x_min, y_min, x_max, y_max) of a district's 500 m core, model metres."""
    i, j = check_index(index)
    x, y = CITY_ORIGIN[0] + PITCH_M * i, CITY_ORIGIN[1] + PITCH_M * j
    return x, y, x + CORE_M, y + CORE_M


def random_stream(options: CityOptions, index: tuple[int, int], stage: str) -> np.random.Generator:
    """The random numbers of one stage of one district, independent of all other stages."""
    return np.random.default_rng([options.seed, index[0], index[1], zlib.crc32(stage.encode())])
