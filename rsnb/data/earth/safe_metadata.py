"""What the XML of a Sentinel-2 SAFE product says: date, tile, baseline, scale and offsets, footprint.

After the Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD, 14.x): `MTD_MSIL2A.xml` or `MTD_MSIL1C.xml`.
Reflectance = (DN + offset) / quantification; the offset (-1000) is there from processing baseline 04.00 on, listed by
band_id 0..12 (B8A is 8). DN 0 is no data, 65535 saturated.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rsnb.data.earth.bands import BAND_ID, band_id
from rsnb.data.earth.dates import date_in_name, parse_date
from rsnb.errors import InputError


@dataclass(frozen=True)
class SafeFacts:
    """Facts of one product.

    Attributes:
        name: PRODUCT_URI without .SAFE.
        level: "L1C" or "L2A".
        platform: "Sentinel-2A" ...
        date: start of sensing, UTC.
        tile: MGRS tile without the T ("33TWL"), "" where nothing says it.
        baseline: "04.00".
        orbit: relative orbit, or None.
        quantification: DN per unit of reflectance.
        offsets: {"B04": -1000.0}, added to DN before the division; empty before baseline 04.00.
        scales: {"AOT": 1000.0, "WVP": 1000.0}: DN per unit of the atmosphere maps, where stated.
        footprint: [N, 2] float64 longitude, latitude, closed ring, degrees; [0, 2] where not stated.
        cloud_cover: per cent, nan where not stated.
        listed: image files that the product says it has, relative, without suffix.
        notes: what is odd.
    """

    name: str
    level: str
    platform: str
    date: np.datetime64
    tile: str
    baseline: str
    orbit: int | None
    quantification: float
    offsets: Mapping[str, float]
    scales: Mapping[str, float]
    footprint: np.ndarray
    cloud_cover: float
    listed: tuple[str, ...]
    notes: tuple[str, ...] = ()


def parse_product(xml: bytes, where) -> SafeFacts:
    """Read a product's main XML.

    Raises:
        InputError: no XML, not Sentinel-2's, or a field missing or no number; named with the element.
    """
    root = parse_xml(xml, where)
    if not re.search(r"Level-(1C|2A|2Ap)_User_Product", root.tag):
        raise InputError(f"the root element is {_local(root.tag)}, not that of a Sentinel-2 product", where=where,
                         mend="Name MTD_MSIL2A.xml or MTD_MSIL1C.xml")
    level = "L1C" if "Level-1C" in root.tag else "L2A"
    uri = _text(root, "PRODUCT_URI", "PRODUCT_URI_2A", "PRODUCT_URI_1C") or ""
    name = re.sub(r"\.SAFE$", "", uri)
    start = _text(root, "DATATAKE_SENSING_START", "PRODUCT_START_TIME")
    if start is None and date_in_name(name) is None:
        raise InputError("there is no PRODUCT_START_TIME", where=where, mend="Fetch the product's metadata again")
    offsets, notes = _offsets(root, where), []
    baseline = _text(root, "PROCESSING_BASELINE") or "".join(re.findall(r"_N(\d\d)(?=\d\d_)", name)[:1])
    if not offsets and re.match(r"0[4-9]|[1-9]\d", baseline):
        notes.append(f"baseline {baseline} without a list of offsets: none is applied, as the file says")
    tile = re.search(r"_T(\d{2}[A-Z]{3})(?:_|$)", name) or re.search(r"_T(\d{2}[A-Z]{3})_", " ".join(_listed(root)))
    scales = {"AOT": _number(root, where, "AOT_QUANTIFICATION_VALUE", "L2A_AOT_QUANTIFICATION_VALUE"),
              "WVP": _number(root, where, "WVP_QUANTIFICATION_VALUE", "L2A_WVP_QUANTIFICATION_VALUE")}
    orbit = _number(root, where, "SENSING_ORBIT_NUMBER")
    cloud = _number(root, where, "Cloud_Coverage_Assessment", "CLOUD_COVERAGE_ASSESSMENT")
    return SafeFacts(
        name, level, _text(root, "SPACECRAFT_NAME") or "Sentinel-2",
        parse_date(start, where) if start else date_in_name(name), tile[1] if tile else "", baseline,
        None if orbit is None else int(orbit), _quantification(root, where, level), offsets,
        {k: v for k, v in scales.items() if v}, _footprint(root, where), np.nan if cloud is None else cloud,
        tuple(_listed(root)), tuple(notes))


def parse_xml(xml: bytes, where) -> ElementTree.Element:
    """The root element, or an InputError with the line."""
    try:
        return ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise InputError(f"this is no whole XML ({error.msg if hasattr(error, 'msg') else error})", where=where,
                         line=error.position[0], mend="Fetch the file again") from None


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]


def _elements(root, *names):
    return (e for e in root.iter() if _local(e.tag) in names)


def _text(root, *names) -> str | None:
    """Text of the first of these elements, in this order."""
    for name in names:
        for element in _elements(root, name):
            if element.text and element.text.strip():
                return element.text.strip()
    return None


def _number(root, where, *names) -> float | None:
    text = _text(root, *names)
    try:
        return None if text is None else float(text)
    except ValueError:
        raise InputError(f"{names[0]} is {text!r}, which is no number", where=where) from None


def _quantification(root, where, level: str) -> float:
    names = ("QUANTIFICATION_VALUE",) if level == "L1C" else (
        "BOA_QUANTIFICATION_VALUE", "L2A_BOA_QUANTIFICATION_VALUE", "L1C_L2A_Quantification_Values_List",
        "QUANTIFICATION_VALUE")
    value = _number(root, where, *names)
    if not value or not value > 0:
        raise InputError(f"there is no {names[0]}, or it is not positive", where=where,
                         mend="Fetch the product's metadata again; published products say 10000")
    return value


def _offsets(root, where) -> dict[str, float]:
    # Which number stands for which band: the spectral list says so; without one the order of the specification holds.
    names = {e.get("bandId"): band_id(e.get("physicalBand", "")) for e in _elements(root, "Spectral_Information")}
    names = {str(i): b for i, b in enumerate(BAND_ID)} | {k: v for k, v in names.items() if k}
    offsets = {}
    for element in _elements(root, "BOA_ADD_OFFSET", "RADIO_ADD_OFFSET"):
        number = element.get("band_id") or element.get("bandId")
        try:
            offsets[names[number]] = float(element.text)
        except (KeyError, TypeError, ValueError):
            raise InputError(f"{_local(element.tag)} of band_id {number!r} is {element.text!r}", where=where,
                             mend="Fetch the product's metadata again") from None
    return offsets


def _footprint(root, where) -> np.ndarray:
    """EXT_POS_LIST is latitude, longitude (and, in old products, height) one after the other."""
    text = _text(root, "EXT_POS_LIST")
    if text is None:
        return np.zeros((0, 2))
    try:
        numbers = np.array(text.split(), np.float64)
    except ValueError:
        raise InputError("EXT_POS_LIST holds something that is no number", where=where) from None
    for width in (2, 3):
        if len(numbers) % width == 0 and len(numbers) >= 4 * width:
            ring = numbers.reshape(-1, width)[:, :2]
            if np.allclose(ring[0], ring[-1], atol=1e-6):
                return ring[:, ::-1].copy()
    raise InputError(f"EXT_POS_LIST with {len(numbers)} numbers is no closed ring", where=where)


def _listed(root) -> list[str]:
    return [e.text.strip() for e in _elements(root, "IMAGE_FILE", "IMAGE_ID", "IMAGE_FILE_2A", "IMAGE_ID_2A") if e.text]
