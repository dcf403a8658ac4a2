"""Class tables of the formats, and how several tables become one.

Helsinki's labelled tiles bring numbers of their own (`SUM_HELSINKI`). CityGML and CityJSON bring names, so both share
`CITY_SURFACES`, and so do the group names of an OBJ file where they are known there. Id 0 is always "unclassified".
"""

from __future__ import annotations

import colorsys
import re
from collections.abc import Iterable, Sequence

import numpy as np

from rsnb.scenes import SemanticClass

# Labels and colours of the SUM-Helsinki annotation (3d.bk.tudelft.nl/projects/meshannotation).
SUM_HELSINKI = (
    SemanticClass(0, "unclassified", (0, 0, 0)),
    SemanticClass(1, "terrain", (170, 85, 0)),
    SemanticClass(2, "high vegetation", (0, 255, 0)),
    SemanticClass(3, "building", (255, 255, 0)),
    SemanticClass(4, "water", (0, 255, 255)),
    SemanticClass(5, "car", (255, 0, 255)),
    SemanticClass(6, "boat", (0, 0, 153)),
)

CITY_SURFACES = (
    SemanticClass(0, "unclassified", (0, 0, 0)),
    SemanticClass(1, "wall", (214, 196, 160)),
    SemanticClass(2, "roof", (172, 76, 56)),
    SemanticClass(3, "ground", (130, 118, 104)),
    SemanticClass(4, "window", (88, 148, 205)),
    SemanticClass(5, "door", (122, 78, 42)),
    SemanticClass(6, "installation", (178, 130, 196)),
    SemanticClass(7, "outer ceiling", (230, 214, 122)),
    SemanticClass(8, "outer floor", (162, 150, 90)),
    SemanticClass(9, "closure", (255, 128, 0)),
    SemanticClass(10, "interior", (250, 200, 210)),
    SemanticClass(11, "building", (255, 255, 0)),
    SemanticClass(12, "terrain", (170, 85, 0)),
    SemanticClass(13, "road", (110, 110, 118)),
    SemanticClass(14, "railway", (70, 60, 80)),
    SemanticClass(15, "water", (0, 160, 220)),
    SemanticClass(16, "vegetation", (60, 160, 60)),
    SemanticClass(17, "bridge", (190, 170, 210)),
    SemanticClass(18, "tunnel", (90, 50, 110)),
    SemanticClass(19, "furniture", (230, 90, 130)),
    SemanticClass(20, "land use", (190, 210, 120)),
    SemanticClass(21, "other", (150, 150, 150)),
)
SURFACE_ID = {c.name: c.id for c in CITY_SURFACES}

# Element names of CityGML 1 to 3 and type names of CityJSON, lower case, "surface" taken off their end.
_SURFACE_OF_NAME = {
    "wall": "wall", "interiorwall": "interior", "roof": "roof", "ground": "ground", "window": "window",
    "door": "door", "buildinginstallation": "installation",
    "intbuildinginstallation": "interior", "buildingconstructiveelement": "installation",
    "bridgeinstallation": "bridge", "bridgeconstructionelement": "bridge", "bridgeconstructiveelement": "bridge",
    "tunnelinstallation": "tunnel", "tunnelconstructiveelement": "tunnel", "outerceiling": "outer ceiling",
    "outerfloor": "outer floor", "closure": "closure", "ceiling": "interior", "floor": "interior",
    "room": "interior", "buildingroom": "interior", "buildingfurniture": "interior", "building": "building",
    "buildingpart": "building", "buildingunit": "building", "storey": "building", "buildingstorey": "building",
    "tinrelief": "terrain", "masspointrelief": "terrain", "relieffeature": "terrain", "rasterrelief": "terrain",
    "terrain": "terrain", "trafficarea": "road", "auxiliarytrafficarea": "road", "trafficspace": "road",
    "auxiliarytrafficspace": "road", "road": "road", "track": "road", "square": "road", "marking": "road",
    "transportsquare": "road", "transportationcomplex": "road", "intersection": "road", "section": "road",
    "railway": "railway", "waterbody": "water", "water": "water", "waterway": "water",
    "waterground": "water", "waterclosure": "water", "plantcover": "vegetation",
    "solitaryvegetationobject": "vegetation", "vegetation": "vegetation", "tree": "vegetation",
    "high vegetation": "vegetation", "bridge": "bridge", "bridgepart": "bridge", "tunnel": "tunnel",
    "tunnelpart": "tunnel", "hollowspace": "tunnel", "cityfurniture": "furniture", "furniture": "furniture",
    "landuse": "land use", "genericcityobject": "other", "genericoccupiedspace": "other",
    "genericlogicalspace": "other", "genericthematic": "other", "otherconstruction": "other",
    "installation": "installation", "facade": "wall", "outer ceiling": "outer ceiling", "outer floor": "outer floor",
    "land use": "land use", "interior": "interior", "other": "other",
}


def surface_class(name: str) -> int:
    """Id in `CITY_SURFACES` of an element, type or group name ("WallSurface", "wall_3"); 0 where it is not known."""
    key = name.strip().lower()
    for candidate in (key, key.removesuffix("surface"), re.sub(r"[\s_.:-]*\d*$", "", key).removesuffix("surface")):
        if candidate in _SURFACE_OF_NAME:
            return SURFACE_ID[_SURFACE_OF_NAME[candidate]]
    return 0


def display_colour(index: int) -> tuple[int, int, int]:
    """A colour 0..255 for a class that brings none; neighbours differ in hue by the golden angle."""
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb((0.12 + 0.381966 * index) % 1.0, 0.65, 0.9))


def complete_table(table: Sequence[SemanticClass], ids: np.ndarray) -> tuple[SemanticClass, ...]:
    """The table, with a row "label N" for each id that the faces carry and the table does not know."""
    known = {c.id for c in table}
    extra = [int(i) for i in np.unique(ids) if int(i) not in known]
    return tuple(table) + tuple(SemanticClass(i, f"label {i}", display_colour(i)) for i in extra)


def unify_tables(
    tables: Iterable[Sequence[SemanticClass]],
) -> tuple[tuple[SemanticClass, ...], list[dict[int, int]]]:
    """One table out of several, and for each of them the map from its ids to the new ones.

    Classes of the same name become one; an id that an earlier table uses for another name is given a new number.
    """
    merged: dict[str, SemanticClass] = {"unclassified": SemanticClass(0, "unclassified", (0, 0, 0))}
    used, maps = {0}, []
    for table in tables:
        mapping = {0: 0}
        for row in table:
            if row.id == 0:
                merged["unclassified"] = row if row.name == "unclassified" else merged["unclassified"]
                continue
            if row.name not in merged:
                new = row.id if row.id not in used else max(used) + 1
                merged[row.name] = SemanticClass(new, row.name, row.rgb)
                used.add(new)
            mapping[row.id] = merged[row.name].id
        maps.append(mapping)
    return tuple(sorted(merged.values(), key=lambda c: c.id)), maps
