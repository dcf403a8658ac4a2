"""SAFE products made by hand after the product specification; pixels written and read back by rasterio alone."""

from __future__ import annotations

import hashlib
import shutil
import zipfile

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from rsnb.data.earth.safe import audit, find_safe, open_safe, read_quicklook, read_safe
from rsnb.data.earth.safe_metadata import parse_product
from rsnb.errors import InputError

NAME = "S2A_MSIL2A_20221005T115411_N0400_R023_T29UNU_20221005T164454"
TILE = "GRANULE/L2A_T29UNU_A038058_20221005T115407"
STEM = "T29UNU_20221005T115411"
# Elements and attributes as PSD 14.9 prints them for a Level-2A user product; values made up.
XML = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>2022-10-05T11:54:11.024Z</PRODUCT_START_TIME>
      <PRODUCT_URI>{name}.SAFE</PRODUCT_URI>
      <PROCESSING_LEVEL>Level-2A</PROCESSING_LEVEL>
      <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
      <Datatake datatakeIdentifier="GS2A_20221005T115411_038058_N04.00">
        <SPACECRAFT_NAME>Sentinel-2A</SPACECRAFT_NAME>
        <DATATAKE_SENSING_START>2022-10-05T11:54:11.024Z</DATATAKE_SENSING_START>
        <SENSING_ORBIT_NUMBER>23</SENSING_ORBIT_NUMBER>
      </Datatake>
      <Product_Organisation><Granule_List><Granule imageFormat="JPEG2000">
        <IMAGE_FILE>{tile}/IMG_DATA/R10m/{stem}_B02_10m</IMAGE_FILE>
        <IMAGE_FILE>{tile}/IMG_DATA/R10m/{stem}_B04_10m</IMAGE_FILE>
        <IMAGE_FILE>{tile}/IMG_DATA/R20m/{stem}_B8A_20m</IMAGE_FILE>
        <IMAGE_FILE>{tile}/IMG_DATA/R20m/{stem}_SCL_20m</IMAGE_FILE>
      </Granule></Granule_List></Product_Organisation>
    </Product_Info>
    <Product_Image_Characteristics>
      <QUANTIFICATION_VALUES_LIST>
        <BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
        <AOT_QUANTIFICATION_VALUE unit="none">1000.0</AOT_QUANTIFICATION_VALUE>
      </QUANTIFICATION_VALUES_LIST>
      {offsets}
      <Spectral_Information_List>
        <Spectral_Information bandId="1" physicalBand="B2"/>
        <Spectral_Information bandId="3" physicalBand="B4"/>
        <Spectral_Information bandId="8" physicalBand="B8A"/>
      </Spectral_Information_List>
    </Product_Image_Characteristics>
  </n1:General_Info>
  <n1:Geometric_Info><Product_Footprint><Product_Footprint><Global_Footprint>
    <EXT_POS_LIST>53.25 -9.0 53.24 -7.76 52.26 -8.3 52.26 -9.0 53.25 -9.0 </EXT_POS_LIST>
  </Global_Footprint></Product_Footprint></Product_Footprint></n1:Geometric_Info>
  <n1:Quality_Indicators_Info><Cloud_Coverage_Assessment>37.5</Cloud_Coverage_Assessment></n1:Quality_Indicators_Info>
</n1:Level-2A_User_Product>
"""
OFFSETS = """<BOA_ADD_OFFSET_VALUES_LIST>
  <BOA_ADD_OFFSET band_id="1">-1000</BOA_ADD_OFFSET>
  <BOA_ADD_OFFSET band_id="3">-1000</BOA_ADD_OFFSET>
  <BOA_ADD_OFFSET band_id="8">-500</BOA_ADD_OFFSET>
</BOA_ADD_OFFSET_VALUES_LIST>"""
WEST, NORTH = 500000.0, 5900040.0
# 24 x 24 pixels of 10 m; DN of red rises along the rows, so that a row out of place shows.
RED = (1000 + 10 * np.arange(24)[:, None] + np.arange(24)[None, :]).astype(np.uint16)
SCL = np.full((12, 12), 4, np.uint8)
SCL[0, 0], SCL[11, 0] = 9, 3  # a cloud in the north-west corner, its shadow in the south-west one


def write_jp2(path, array, gsd):
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(path, "w", driver="JP2OpenJPEG", height=array.shape[0], width=array.shape[1], count=1,
                       dtype=array.dtype, crs="EPSG:32629", transform=from_origin(WEST, NORTH, gsd, gsd),
                       QUALITY="100", REVERSIBLE="YES") as file:
        file.write(array, 1)


@pytest.fixture
def make(tmp_path):
    def build(folder="", name=NAME, baseline="04.00", offsets=OFFSETS):
        root = tmp_path / folder / f"{name}.SAFE"
        images = root / TILE / "IMG_DATA"
        red = RED.copy()
        red[23, 23] = 0
        write_jp2(images / f"R10m/{STEM}_B02_10m.jp2", np.full((24, 24), 2000, np.uint16), 10)
        write_jp2(images / f"R10m/{STEM}_B04_10m.jp2", red, 10)
        write_jp2(images / f"R20m/{STEM}_B8A_20m.jp2", np.full((12, 12), 4500, np.uint16), 20)
        write_jp2(images / f"R20m/{STEM}_SCL_20m.jp2", SCL, 20)
        write_jp2(root / TILE / "QI_DATA/MSK_CLDPRB_20m.jp2", SCL, 20)
        write_jp2(root / TILE / "QI_DATA/MSK_DETFOO_B04.jp2", SCL, 20)
        text = XML.format(name=name, baseline=baseline, offsets=offsets, tile=TILE, stem=STEM)
        (root / "MTD_MSIL2A.xml").write_text(text)
        return root

    return build


def test_facts_of_the_metadata(make):
    product = open_safe(make())
    facts = product.facts
    assert (facts.name, facts.level, facts.platform, facts.tile, facts.baseline, facts.orbit) == (
        NAME, "L2A", "Sentinel-2A", "29UNU", "04.00", 23)
    assert facts.date == np.datetime64("2022-10-05T11:54:11") and facts.cloud_cover == 37.5
    assert facts.offsets == {"B02": -1000.0, "B04": -1000.0, "B8A": -500.0} and facts.quantification == 10000
    # the list is latitude first; a map wants longitude first
    assert facts.footprint[1].tolist() == [-7.76, 53.24] and facts.footprint.shape == (5, 2)
    assert not product.missing


def test_rows_of_the_table(make):
    product = open_safe(make())
    assert [(r["kind"], r["band"], r["common_name"], r["resolution_m"]) for r in product.table()] == [
        ("band", "B02", "blue", 10), ("band", "B04", "red", 10), ("band", "B8A", "nir08", 20),
        ("classes", "SCL", "", 20), ("mask", "DETFOO B04", "", None), ("mask", "CLDPRB", "", 20)]
    assert [f.band for f in product.select(band="red")] == ["B04"]


def test_reflectance_has_the_offset_once(make):
    stack = read_safe(open_safe(make()), ("red", "B8A"))
    assert stack.images.shape == (1, 2, 24, 24) and stack.bands == ("red", "nir08") and stack.crs == "EPSG:32629"
    # red: (DN - 1000) / 10000, so pixel (3, 5) with DN 1035 is 0.0035; B8A: (4500 - 500) / 10000
    assert stack.images[0, 0, 3, 5] == pytest.approx(0.0035) and stack.images[0, 1, 7, 7] == pytest.approx(0.4)
    assert np.isnan(stack.images[0, 0, 23, 23]) and not stack.clear[0, 23, 23]
    assert stack.transform == (10.0, 0.0, WEST, 0.0, -10.0, NORTH)


def test_no_offset_before_baseline_04(make):
    stack = read_safe(open_safe(make(baseline="03.01", offsets="")), "blue")
    assert stack.images[0, 0, 0, 0] == pytest.approx(0.2)
    assert read_safe(open_safe(make()), "blue").images[0, 0, 0, 0] == pytest.approx(0.1)


def test_a_baseline_without_its_list_is_noted(make):
    assert any("04.00" in note for note in open_safe(make(offsets="")).facts.notes)


def test_clouds_of_the_scene_classification(make):
    clear = read_safe(open_safe(make()), "blue").clear[0]
    # one class pixel of 20 m is two by two pixels of 10 m
    assert not clear[:2, :2].any() and not clear[22:, :2].any() and clear.sum() == 24 * 24 - 8


def test_a_window_is_that_part_of_the_whole(make):
    product = open_safe(make())
    # from 4 columns and 3 rows in, 6 wide and 5 high
    box = (WEST + 40, NORTH - 80, WEST + 100, NORTH - 30)
    part, whole = read_safe(product, "red", bbox=box), read_safe(product, "red")
    assert np.array_equal(part.images[0, 0], whole.images[0, 0, 3:8, 4:10])
    assert part.transform[2] == WEST + 40 and part.transform[5] == NORTH - 30
    with pytest.raises(InputError, match="outside"):
        read_safe(product, "red", bbox=(0, 0, 10, 10))


def test_to_20_m_pixels_are_averaged(make):
    stack = read_safe(open_safe(make()), "red", resolution_m=20)
    # the mean DN of rows 2 and 3, columns 4 and 5 is 1000 + 25 + 4.5
    assert stack.images.shape == (1, 1, 12, 12) and stack.images[0, 0, 1, 2] == pytest.approx(0.00295, abs=1e-7)


def test_masks_and_the_small_picture(make):
    root = make()
    stack = read_safe(open_safe(root), ("SCL", "cldprb"), resolution_m=20)
    assert np.array_equal(stack.images[0, 0], SCL) and np.array_equal(stack.images[0, 1], SCL)
    with pytest.raises(InputError, match="TCI"):
        read_quicklook(open_safe(root))
    picture = np.stack([np.full((24, 24), v, np.uint8) for v in (51, 102, 255)])
    path = root / TILE / f"IMG_DATA/R10m/{STEM}_TCI_10m.jp2"
    with rasterio.open(path, "w", driver="JP2OpenJPEG", height=24, width=24, count=3, dtype="uint8", QUALITY="100",
                       REVERSIBLE="YES", YCBCR420="NO") as file:
        file.write(picture)
    small = read_quicklook(open_safe(root), 12)
    assert small.shape == (3, 12, 12) and np.allclose(small[:, 5, 5], [0.2, 0.4, 1.0])


@pytest.mark.parametrize("seed", range(60))
def test_damaged_metadata_and_zips_are_refused_not_crashed_on(make, tmp_path, seed):
    rng = np.random.default_rng(seed)
    text = XML.format(name=NAME, baseline="04.00", offsets=OFFSETS, tile=TILE, stem=STEM).encode()
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("MTD_MSIL2A.xml", text)
    for data, way in ((text, lambda d: parse_product(d, "x")), (archive.read_bytes(), None)):
        spoilt = bytearray(data)
        for place in rng.integers(0, len(spoilt), rng.integers(1, 8)):
            spoilt[place] = rng.integers(0, 256)
        try:
            if way is None:
                archive.write_bytes(bytes(spoilt))
                open_safe(archive)
            else:
                way(bytes(spoilt))
        except InputError as error:
            assert error.where is not None


def test_out_of_a_zip(make, tmp_path):
    root = make()
    archive = tmp_path / "product.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in root.rglob("*"):
            file.write(path, path.relative_to(root.parent))
    one, other = read_safe(open_safe(archive), ("red",)), read_safe(open_safe(root), ("red",))
    assert np.array_equal(one.images, other.images, equal_nan=True)
    archive.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises(InputError, match="zip"):
        open_safe(archive)


def test_two_dates_make_a_series(make):
    later = NAME.replace("20221005T115411", "20221010T115411")
    first, second = open_safe(make()), open_safe(make("b", later))
    # the metadata of both say the same moment; the second is made later by hand
    text = (second.path / "MTD_MSIL2A.xml").read_text().replace("2022-10-05T11:54", "2022-10-10T11:54")
    (second.path / "MTD_MSIL2A.xml").write_text(text)
    stack = read_safe([open_safe(second.path), first], "blue")
    assert len(stack) == 2 and stack.days().tolist() == [0.0, 5.0] and stack.names[0] == NAME


def test_all_products_of_a_folder_are_found(make, tmp_path):
    root = make()
    shutil.copytree(root, tmp_path / f"{NAME}.SAFE 2")  # what a file manager makes of a second copy
    assert len(find_safe(tmp_path)) == 2
    found = audit(tmp_path)
    assert found.counts["products"] == 2 and [f.kind for f in found.findings] == ["duplicate"]


def test_several_tiles_are_not_mixed(make):
    root = make()
    shutil.copytree(root / TILE, root / TILE.replace("29UNU", "29UPU"))
    with pytest.raises(InputError, match="several tiles"):
        read_safe(open_safe(root), "red")


def test_what_is_missing_or_cut_is_named(make, tmp_path):
    root = make()
    assert audit(root).ok and audit(root).counts == {"products": 1, "bands": 3, "masks": 2}
    (root / TILE / f"IMG_DATA/R10m/{STEM}_B02_10m.jp2").unlink()
    cut = root / TILE / f"IMG_DATA/R10m/{STEM}_B04_10m.jp2"
    cut.write_bytes(cut.read_bytes()[:120])
    found = audit(root)
    assert [f.kind for f in found.findings] == ["missing", "unreadable"]
    assert "B02_10m" in found.findings[0].path and "B04_10m" in found.findings[1].path
    with pytest.raises(InputError, match="blue"):
        read_safe(open_safe(root), "blue")


def test_sums_of_the_manifest_are_checked(make):
    root = make()
    path = root / TILE / f"IMG_DATA/R10m/{STEM}_B04_10m.jp2"
    entry = ('<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1"><dataObjectSection><dataObject ID="B04"><byteStream '
             'mimeType="application/octet-stream" size="{size}"><fileLocation locatorType="URL" href="./{href}"/>'
             '<checksum checksumName="SHA3-256">{sum}</checksum></byteStream></dataObject></dataObjectSection>'
             '</xfdu:XFDU>')
    digest = hashlib.sha3_256(path.read_bytes()).hexdigest()
    values = dict(size=path.stat().st_size, href=path.relative_to(root).as_posix(), sum=digest)
    (root / "manifest.safe").write_text(entry.format(**values))
    assert audit(root).ok
    spoilt = bytearray(path.read_bytes())
    spoilt[-40] ^= 1
    path.write_bytes(bytes(spoilt))
    assert [f.kind for f in audit(root).findings] == ["unreadable"]
    (root / "manifest.safe").write_text(entry.format(**values | {"size": 5}))
    assert "5" in audit(root).findings[0].text


@pytest.mark.parametrize("change, what", [
    (("-1000</BOA_ADD_OFFSET>", "many</BOA_ADD_OFFSET>"), "BOA_ADD_OFFSET"),
    (('unit="none">10000<', 'unit="none">0<'), "BOA_QUANTIFICATION_VALUE"),
    (("</n1:Level-2A_User_Product>", ""), "XML"),
    (("2022-10-05T11:54:11.024Z", "yesterday"), "yesterday"),
    (("53.25 -9.0 </EXT", "53.25 </EXT"), "EXT_POS_LIST"),
])
def test_broken_metadata_name_the_field(make, change, what):
    root = make()
    path = root / "MTD_MSIL2A.xml"
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(InputError, match=what) as caught:
        open_safe(root)
    assert "MTD_MSIL2A.xml" in str(caught.value)


def test_level_1c_and_spellings(make, tmp_path):
    root = make()
    text = (root / "MTD_MSIL2A.xml").read_text().replace("Level-2A", "Level-1C").replace("BOA_ADD", "RADIO_ADD")
    text = text.replace("BOA_QUANTIFICATION_VALUE", "QUANTIFICATION_VALUE")
    (root / "MTD_MSIL2A.xml").unlink()
    (root / "MTD_MSIL1C.xml").write_text(text)
    for path in (root / TILE / "IMG_DATA").rglob("*.jp2"):  # Level-1C has one folder and no resolution in the names
        path.rename(root / TILE / "IMG_DATA" / path.name.replace("_10m", "").replace("_20m", ""))
    product = open_safe(root)
    assert product.facts.level == "L1C" and product.select(band="red")[0].resolution_m == 10
    assert read_safe(product, "red").images[0, 0, 3, 5] == pytest.approx(0.0035)


def test_no_product_is_said(tmp_path):
    with pytest.raises(InputError, match="MTD_MSIL2A"):
        open_safe(tmp_path)
    with pytest.raises(InputError, match="no such product"):
        open_safe(tmp_path / "x.SAFE")


def test_more_than_memory_holds_is_refused_before_it_is_read(make):
    with pytest.raises(InputError, match="read_safe: 1 dates x 1 bands.*max_bytes"):
        read_safe(open_safe(make()), "blue", max_bytes=100)
