"""Assets and whole products on the disk, with their checksums; Copernicus OData answers; tokens that show nowhere."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import pickle
import traceback
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pystac
import pytest
import rasterio

from rsnb.data.download.loopback import Fault, LoopbackServer
from rsnb.data.stac import tokens
from rsnb.data.stac.access import Access
from rsnb.data.stac.checksums import checksum_of, multihash
from rsnb.data.stac.download import download_assets, file_name
from rsnb.data.stac.items import item_rows, read_items
from rsnb.data.stac.odata import odata_question, parse_odata, search_odata
from rsnb.data.stac.options import SearchOptions
from rsnb.data.stac.search import search
from rsnb.data.stac.secrets import Secret, stored_secret
from rsnb.data.stac.stack import StackOptions, read_stack
from rsnb.data.stac.tokens import CopernicusToken, PlanetarySigner
from rsnb.errors import InputError

JSON = {"Content-Type": "application/json"}
PASSWORD, TOKEN, DIGITS = "correct horse battery", "eyTOKEN.one", "907361"


@pytest.fixture(autouse=True)
def nobody_is_logged_in(monkeypatch):
    """No credentials of whoever runs the tests, and no keyring."""
    import keyring

    for name in ("RSNB_CDSE_USER", "RSNB_CDSE_PASSWORD", "RSNB_CDSE_TOTP", "AWS_ACCESS_KEY_ID", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(keyring, "get_password", lambda service, user: None)
    monkeypatch.setattr(keyring, "get_credential", lambda service, user: None)


def _item(assets: dict, name: str = "S2A_made") -> pystac.Item:
    return pystac.Item.from_dict({
        "type": "Feature", "stac_version": "1.0.0", "id": name, "links": [], "bbox": [15, 45, 16, 46],
        "geometry": {"type": "Point", "coordinates": [15, 45]}, "collection": "c",
        "properties": {"datetime": "2023-01-01T00:00:00Z"}, "assets": assets})


BODY = bytes(range(256)) * 400
SUMS = {"sha256": "1220" + hashlib.sha256(BODY).hexdigest(), "md5": "d50110" + hashlib.md5(BODY).hexdigest(),
        "sha1": "1114" + hashlib.sha1(BODY).hexdigest(), "sha512": "1340" + hashlib.sha512(BODY).hexdigest()}


@pytest.fixture
def served(tmp_path):
    root = tmp_path / "served"
    root.mkdir()
    (root / "B04.bin").write_bytes(BODY)
    with LoopbackServer(root) as server:
        yield server


@pytest.mark.parametrize("kind", [*SUMS, None])
def test_an_asset_is_fetched_and_checked(served, tmp_path, kind):
    fields = {"file:checksum": SUMS[kind]} if kind else {}
    item = _item({"red": {"href": served.url_of("B04.bin"), "file:size": len(BODY), **fields}})
    result = download_assets([item], tmp_path / "out", ["red"])
    path = tmp_path / "out" / "S2A_made" / "B04.bin"
    assert result.paths == {("S2A_made", "red"): path} and path.read_bytes() == BODY and not result.failures
    assert result.unchecked == (() if kind else (("S2A_made", "red"),))
    served.clear_log()
    download_assets([item], tmp_path / "out", ["red"])
    if kind:
        assert served.log == []  # right already
    assert sorted(p.name for p in path.parent.iterdir()) == ["B04.bin", "S2A_made.json"]


@pytest.mark.parametrize("kind", list(SUMS))
def test_other_bytes_than_the_catalogue_says_get_no_name(served, tmp_path, kind):
    wrong = SUMS[kind][:-4] + ("0000" if not SUMS[kind].endswith("0000") else "1111")
    item = _item({"red": {"href": served.url_of("B04.bin"), "file:checksum": wrong},
                  "green": {"href": served.url_of("B04.bin"), "file:checksum": SUMS[kind]}})
    result = download_assets([item], tmp_path / "out", ["red", "green"])
    assert list(result.paths) == [("S2A_made", "green")]  # the rest goes on
    (failure,) = result.failures
    assert "red" in failure and kind in failure and wrong[-8:] in failure
    left = sorted(p.name for p in (tmp_path / "out" / "S2A_made").iterdir())
    assert left == ["S2A_made.json", "green-B04.bin"]


def test_a_download_that_was_cut_goes_on(served, tmp_path):
    served.use_faults(Fault("B04.bin", "cut", at=50_000, times=1))
    item = _item({"red": {"href": served.url_of("B04.bin"), "file:checksum": SUMS["sha256"]}})
    result = download_assets([item], tmp_path / "out", "red")
    assert not result.failures
    gets = served.requests("B04.bin", "GET")
    assert [r.start for r in gets][:2] == [None, 50_000] and sum(r.sent for r in gets) == len(BODY)


@pytest.mark.parametrize("text, expected", [
    ("1220" + "ab" * 32, ("sha256", "ab" * 32)), ("D50110" + "AB" * 16, ("md5", "ab" * 16)), ("", None),
    ("1e20" + "ab" * 32, None),  # BLAKE3, which nothing here computes
])
def test_multihashes(text, expected):
    assert checksum_of({"file:checksum": text} if text else {}) == expected


def test_a_multihash_that_is_cut_is_refused():
    with pytest.raises(InputError, match="file:checksum: the sha256 .* 10 digits, not 64"):
        checksum_of({"file:checksum": "1220" + "ab" * 5})


@pytest.mark.parametrize("sums, text", [
    ({"BLAKE3": "cd" * 32, "MD5": "AB" * 16}, "d50110" + "ab" * 16), ({"SHA3-256": "ab" * 32}, "1620" + "ab" * 32),
    ({"SHA-256": "ab" * 32, "MD5": ""}, "1220" + "ab" * 32), ({"BLAKE3": "cd" * 32}, None), ({}, None),
])
def test_sums_of_the_odata_catalogue_as_multihash(sums, text):
    assert multihash(sums) == text


@pytest.mark.parametrize("key, href, kind, expected", [
    ("red", "https://x.org/a/B04.tif?sig=1", "", "B04.tif"),
    ("red", "https://x.org/a/..%2F..%2Fetc%2Fpasswd.tif", "", "passwd.tif"),
    ("red", "https://x.org/.hidden.tif", "", "hidden.tif"),
    ("product", "https://x.org/Products(1)/$value", "application/zip", "S2A_made.zip"),
    ("thumbnail", "https://x.org/Assets(1)/$value", "image/jpeg", "S2A_made-thumbnail.jpg"),
])
def test_names_of_files_stay_in_their_folder(key, href, kind, expected):
    asset = pystac.Asset(href, media_type=kind or None)
    assert file_name(_item({}), key, asset) == expected


def test_item_ids_that_are_paths_stay_in_the_folder(served, tmp_path):
    item = _item({"red": {"href": served.url_of("B04.bin")}}, name="../../evil")
    (path,) = download_assets([item], tmp_path / "out", ["red"]).paths.values()
    assert (tmp_path / "out") in path.resolve().parents


def test_a_real_item_downloaded_reads_without_the_server(real, tmp_path):
    """Bands, scene classes and side-car files; the item beside them is enough for a stack."""
    root = real("nb6_temporal/earthsearch_33TWL")
    options = StackOptions(bbox=(15.2, 45.4, 15.3, 45.5))
    with LoopbackServer(root) as server:
        items = search(f"{server.url}/catalog.json", SearchOptions(start="2023-08-13", end="2023-08-15")).items
        expected = read_stack(items, ["red"], options)
        result = download_assets(items, tmp_path, ["red", "scl"])
        assert not result.failures and len(result.items) == 2
    again = read_stack([i for path in result.items for i in read_items(path)], ["red"], options)
    np.testing.assert_array_equal(again.images, expected.images)
    np.testing.assert_array_equal(again.clear, expected.clear)
    with rasterio.open(next(p for (_, key), p in result.paths.items() if key == "red")) as file:
        assert file.crs.to_epsg() == 32633
    assert set(again.names) == set(expected.names)


def test_all_assets_of_a_local_item_and_what_cannot_be_had(real, tmp_path):
    folder = real("nb6_temporal/earthsearch_33TWL/sentinel-2-l2a/S2A_33TWL_20230815_0_L2A")
    (item,) = read_items(folder / "S2A_33TWL_20230815_0_L2A.json")
    for key in list(item.assets):  # those of the real host cannot be reached from here
        if item.assets[key].href.startswith("https"):
            del item.assets[key]
    result = download_assets([item], tmp_path, "all")
    assert {key for _, key in result.paths} == {"red", "green", "blue", "scl"}
    lost = "\n".join(result.failures)
    assert "nir: " in lost and "there is no such asset" in lost  # B08.tif is not in the set
    assert "rededge1" in lost and "AWS_REQUEST_PAYER" in lost  # s3 alone is left, and what that needs
    assert (tmp_path / item.id / "B04.tif").read_bytes() == (folder / "B04.tif").read_bytes()


# --- OData

PRODUCT = {
    "@odata.mediaContentType": "application/octet-stream", "Id": "fd292acb-9337-4842-84f1-f2c69ad02486",
    "Name": "S2A_MSIL2A_20240108T101401_N0510_R022_T32UQD_20240108T105807.SAFE",
    "ContentType": "application/octet-stream", "ContentLength": len(BODY), "Online": True,
    "S3Path": "/eodata/Sentinel-2/MSI/L2A/2024/01/08/S2A_MSIL2A_20240108T101401_N0510_R022_T32UQD_20240108T105807.SAFE",
    "Checksum": [{"Value": hashlib.md5(BODY).hexdigest(), "Algorithm": "MD5", "ChecksumDate": "2024-01-08T13:00:00Z"},
                 {"Value": "ab" * 32, "Algorithm": "BLAKE3", "ChecksumDate": "2024-01-08T13:00:00Z"}],
    "ContentDate": {"Start": "2024-01-08T10:14:01.024Z", "End": "2024-01-08T10:14:01.024Z"},
    "Footprint": "geography'SRID=4326;POLYGON ((12 52, 13 52, 13 53, 12 53, 12 52))'",
    "Attributes": [{"@odata.type": "#OData.CSC.DoubleAttribute", "Name": "cloudCover", "Value": 12.5},
                   {"Name": "platformShortName", "Value": "SENTINEL-2"},
                   {"Name": "platformSerialIdentifier", "Value": "A"}, {"Name": "processorVersion", "Value": "05.10"},
                   {"Name": "productType", "Value": "S2MSI2A"}, {"Name": "instrumentShortName", "Value": "MSI"}],
    "Assets": [{"Type": "QUICKLOOK", "Id": "1", "DownloadLink":
                "https://catalogue.dataspace.copernicus.eu/odata/v1/Assets(1)/$value"}]}


def test_an_odata_product_becomes_an_item():
    (item,) = parse_odata({"@odata.context": "$metadata#Products", "value": [PRODUCT]})
    assert item.id == "S2A_MSIL2A_20240108T101401_N0510_R022_T32UQD_20240108T105807"
    assert item.datetime.isoformat() == "2024-01-08T10:14:01.024000+00:00" and item.bbox == [12, 52, 13, 53]
    assert item.properties["platform"] == "sentinel-2a" and item.properties["eo:cloud_cover"] == 12.5
    assert item.collection_id == "SENTINEL-2" and item.properties["product:type"] == "S2MSI2A"
    product = item.assets["product"]
    assert product.href == ("https://download.dataspace.copernicus.eu/odata/v1/"
                            "Products(fd292acb-9337-4842-84f1-f2c69ad02486)/$value")
    assert product.extra_fields["file:checksum"] == SUMS["md5"] and product.extra_fields["file:size"] == len(BODY)
    assert product.extra_fields["alternate"]["s3"]["href"].startswith("s3://eodata/Sentinel-2/")
    (row,) = item_rows([item])
    assert row["cloud"] == 12.5 and row["thumbnail"].endswith("Assets(1)/$value")


@pytest.mark.parametrize("name, collection, platform", [
    ("S1A_IW_GRDH_1SDV_20200120T124746_20200120T124818_030884_038B5E_C9A1.SAFE", "SENTINEL-1", "sentinel-1a"),
    ("S3B_SL_2_LST____20221019T093358_20221019T093658_20221020T055649_0179_071_364_2160_PS2_O_NT_004.SEN3",
     "SENTINEL-3", "sentinel-3b"),
    ("S5P_OFFL_L2__NO2____20230101T000000_20230101T014130_27068_03_020400_20230102T160000.nc", "SENTINEL-5P", None),
    ("DEM1_SAR_DGE_30_20110101T000000_20140101T000000_ADS_000000_abcd.DEM", None, None),
])
def test_products_of_the_other_sensors(name, collection, platform):
    bare = {"Id": "1", "Name": name, "ContentDate": {"Start": "2023-01-01T00:00:00Z"},
            "GeoFootprint": {"type": "Point", "coordinates": [1, 2]}}
    (item,) = parse_odata(bare)
    assert item.collection_id == collection and item.properties.get("platform") == platform
    assert not item.id.endswith((".SAFE", ".SEN3", ".nc")) and item.geometry["coordinates"] == [1, 2]


def test_the_recorded_result_of_another_client_parses(real):
    """eodag keeps OData's links among the properties; they become assets."""
    items = read_items(real("nb1_download/cdse_odata") / "eodag_search_result_cop_dataspace.geojson")
    rows = item_rows(items)
    assert [row["id"][-22:] for row in rows] == ["T55PBS_20230405T155830", "T55PEQ_20230405T155830"]
    assert rows[0]["cloud"] == 0.0 and rows[1]["cloud"] == pytest.approx(12.6437621427741)
    assert rows[0]["date"] == "2020-08-15 00:52:51" and rows[0]["thumbnail"].startswith("https://catalogue.dataspace")
    assert items[0].assets["product"].href.endswith("Products(8a84f4dc-86e6-47d6-ae92-e2040873405d)/$value")


@pytest.mark.parametrize("change, words", [
    ({"Id": None}, "no Id or no Name"), ({"ContentDate": {}}, "no ContentDate"),
    ({"Footprint": "geography'SRID=4326;POLYGON ((12 52'"}, "Footprint of S2A_MSIL2A_20240108.*cannot be read"),
    ({"ContentDate": {"Start": "yesterday"}}, "ContentDate/Start: 'yesterday' is no date"),
])
def test_broken_products_are_named(change, words):
    with pytest.raises(InputError, match=words):
        parse_odata({"value": [PRODUCT | change]})


def test_the_question_in_odata():
    options = SearchOptions(collections="SENTINEL-2", start="2024-01-01", end="2024-01-31", max_cloud=20,
                            bbox=(12, 52, 13, 53), max_items=7)
    question = odata_question(options)
    assert question["$top"] == "7" and question["$orderby"] == "ContentDate/Start desc"
    for term in ("Collection/Name eq 'SENTINEL-2'", "ContentDate/End ge 2024-01-01T00:00:00.000Z",
                 "ContentDate/Start le 2024-01-31T23:59:59.999Z",
                 "OData.CSC.Intersects(area=geography'SRID=4326;POLYGON",
                 "Name eq 'cloudCover' and att/OData.CSC.DoubleAttribute/Value le 20.00"):
        assert term in question["$filter"]


def test_odata_pages_are_followed_and_checked_again(tmp_path):
    asked = []

    def answer(method, path, headers, body):
        asked.append(parse_qs(urlsplit(path).query))
        second = "$skip" in path
        products = [PRODUCT | {"Id": "2", "Name": "S2A_second.SAFE"}] if second else [
            PRODUCT, PRODUCT | {"Id": "3", "Name": "S2A_cloudy.SAFE",
                                "Attributes": [{"Name": "cloudCover", "Value": 80.0}]}]
        page = {"@odata.context": "c", "@odata.count": 3, "value": products}
        if not second:
            page["@odata.nextLink"] = f"{server.url}/odata/v1/Products?$skip=2"
        return 200, JSON, json.dumps(page).encode()

    with LoopbackServer(tmp_path, handler=answer) as server:
        result = search_odata(SearchOptions(collections="SENTINEL-2", max_cloud=20), f"{server.url}/odata/v1")
    assert sorted(i.id[:10] for i in result.items) == ["S2A_MSIL2A", "S2A_second"]
    assert result.matched == 3 and any("too cloudy" in note for note in result.notes)
    assert "Attributes" in asked[0]["$expand"][0] and len(asked) == 2


def test_an_odata_service_that_gives_the_same_page_for_ever_is_left(tmp_path):
    asked = []

    def answer(method, path, headers, body):
        asked.append(path)
        cloudy = PRODUCT | {"Attributes": [{"Name": "cloudCover", "Value": 80.0}]}
        page = {"value": [cloudy], "@odata.nextLink": f"{server.url}/odata/v1/Products?$skip={len(asked) % 2}"}
        return (200, JSON, json.dumps(page).encode()) if len(asked) < 9 else (404, {}, b"asked too often")

    with LoopbackServer(tmp_path, handler=answer) as server:
        assert len(search_odata(SearchOptions(max_cloud=20), f"{server.url}/odata/v1")) == 0
    assert len(asked) == 2


# --- tokens

class TokenServer:
    """Hands out numbered tokens, and a product to who shows the newest one."""

    def __init__(self, folder, lifetime=600, status=200):
        self.forms, self.lifetime, self.status = [], lifetime, status
        self.server = LoopbackServer(folder, handler=self)

    def __call__(self, method, path, headers, body):
        if method == "POST":
            self.forms.append({k: v[0] for k, v in parse_qs(body.decode()).items()})
            text = json.dumps({"access_token": f"{TOKEN}{len(self.forms)}", "expires_in": self.lifetime})
            return self.status, JSON, text.encode()
        if path.startswith("/odata"):
            good = headers.get("authorization") == f"Bearer {TOKEN}{len(self.forms)}"
            return (200, {"Content-Type": "application/zip"}, BODY) if good else (401, {}, b"no")
        return None


def test_a_whole_product_with_a_token_that_shows_nowhere(tmp_path, monkeypatch, caplog, capsys):
    monkeypatch.setenv("RSNB_CDSE_USER", "someone@example.org")
    monkeypatch.setenv("RSNB_CDSE_PASSWORD", PASSWORD)
    monkeypatch.setenv("RSNB_CDSE_TOTP", DIGITS)
    caplog.set_level(logging.DEBUG)
    keeper = TokenServer(tmp_path)
    with keeper.server as server:
        (item,) = parse_odata(PRODUCT)
        item.assets["product"].href = f"{server.url}/odata/v1/Products(1)/$value"
        access = Access(CopernicusToken(url=f"{server.url}/token"), hosts=(server.url.removeprefix("http://"),))
        result = download_assets([item], tmp_path / "out", "product", access, progress=True)
    assert not result.failures and not result.unchecked
    (path,) = result.paths.values()
    assert path.name == f"{item.id}.zip" and path.read_bytes() == BODY
    assert keeper.forms == [{"client_id": "cdse-public", "grant_type": "password", "username": "someone@example.org",
                             "password": PASSWORD, "totp": DIGITS}]
    shown = capsys.readouterr()
    seen = [caplog.text, shown.out, shown.err, repr(access), str(access), repr(result), f"{access.copernicus.token()}"]
    seen += [p.read_bytes().decode("latin-1") for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert not any(secret in text for text in seen for secret in (PASSWORD, TOKEN, DIGITS))


def test_a_token_is_kept_until_it_nears_its_end(tmp_path):
    keeper = TokenServer(tmp_path, lifetime=600)
    with keeper.server as server:
        token = CopernicusToken("user", Secret(PASSWORD), url=f"{server.url}/token")
        assert token.token() == token.token() == Secret(f"{TOKEN}1") and len(keeper.forms) == 1
        token._ends -= 545.0  # 55 of its 600 seconds are left
        assert token.token() == Secret(f"{TOKEN}2")
    assert "totp" not in keeper.forms[0]


@pytest.mark.parametrize("status, words", [(401, "does not accept user and password"), (500, "gave status 500")])
def test_a_refused_login_names_no_secret(tmp_path, status, words):
    keeper = TokenServer(tmp_path, status=status)
    with keeper.server as server:
        token = CopernicusToken("user", Secret(PASSWORD), url=f"{server.url}/token")
        with pytest.raises(InputError, match=words) as error:
            token.token()
    assert PASSWORD not in "".join(traceback.format_exception(error.value))


def test_without_credentials_the_mend_says_where_to_put_them():
    assert not CopernicusToken.available()
    with pytest.raises(InputError, match="no credentials.*RSNB_CDSE_USER and RSNB_CDSE_PASSWORD.*keyring set"):
        CopernicusToken().token()


def test_the_keyring_serves_where_the_environment_does_not(monkeypatch):
    import keyring

    stored = {("rsnb-copernicus", "me"): PASSWORD}
    monkeypatch.setattr(keyring, "get_password", lambda service, user: stored.get((service, user)))
    monkeypatch.setattr(keyring, "get_credential", lambda service, user: type("C", (), {"username": "me"}))
    assert CopernicusToken.available()
    assert stored_secret("RSNB_CDSE_PASSWORD", "rsnb-copernicus", "me").reveal() == PASSWORD
    monkeypatch.setenv("RSNB_CDSE_PASSWORD", "from the environment")
    assert stored_secret("RSNB_CDSE_PASSWORD", "rsnb-copernicus", "me").reveal() == "from the environment"

    def locked(service, user):
        raise RuntimeError("the keyring is locked")

    monkeypatch.setattr(keyring, "get_password", locked)
    monkeypatch.delenv("RSNB_CDSE_PASSWORD")
    assert stored_secret("RSNB_CDSE_PASSWORD", "rsnb-copernicus", "me") is None


def test_a_secret_does_not_print_and_does_not_pickle():
    secret = Secret(PASSWORD)
    stream = io.StringIO()
    logging.StreamHandler(stream).emit(logging.LogRecord("x", 20, "f", 1, "%s %r", (secret, {"k": secret}), None))
    for text in (str(secret), repr(secret), f"{secret}", f"{secret!r:>30}", repr([secret]), stream.getvalue()):
        assert PASSWORD not in text and "****" in text
    with pytest.raises(TypeError, match="not written anywhere"):
        pickle.dumps(secret)
    assert secret and not Secret("") and secret == Secret(PASSWORD) != Secret("x") and secret.reveal() == PASSWORD


def test_planetary_computer_hrefs_are_signed_once_a_container(tmp_path, monkeypatch):
    monkeypatch.setattr(tokens, "MARGIN_S", 60)
    asked = []

    def answer(method, path, headers, body):
        asked.append(path)
        return 200, JSON, json.dumps({"msft:expiry": "2999-01-01T00:00:00Z", "token": f"se=1&sig={TOKEN}"}).encode()

    base = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/35/M/NM"
    with LoopbackServer(tmp_path, handler=answer) as server:
        signer = PlanetarySigner(f"{server.url}/api/sas/v1/token")
        access = Access(planetary=signer)
        signed = [access.open(f"{base}/{name}.tif") for name in ("B04", "B08")]
        assert access.open(signed[0].target.reveal()).target == signed[0].target  # not twice
    assert [s.target.reveal() for s in signed] == [f"{base}/{n}.tif?se=1&sig={TOKEN}" for n in ("B04", "B08")]
    assert asked == ["/api/sas/v1/token/sentinel2l2a01/sentinel2-l2"]
    assert TOKEN not in repr(signed) and signed[0].label == f"{base}/B04.tif" and TOKEN not in repr(signer)
    assert not PlanetarySigner.signs("https://example.org/blob.core.windows.net/x.tif")


@pytest.mark.parametrize("href, words", [
    ("s3://eodata/Sentinel-2/x.jp2", "not open to all.*eodata-s3keysmanager.*AWS_S3_ENDPOINT"),
    ("s3://usgs-landsat/x.TIF", "AWS_REQUEST_PAYER=requester and AWS_REGION=us-west-2; or take Landsat from planetary"),
    ("s3://sentinel-s2-l2a/tiles/x.jp2", "pays for the transfer"),
    ("ftp://example.org/x.tif", "ftp:// cannot be opened"),
])
def test_hrefs_that_cannot_be_opened_say_what_they_need(href, words):
    with pytest.raises(InputError, match=words) as error:
        Access().open(href)
    assert href in str(error.value)


def test_open_buckets_are_read_by_https_and_keys_open_the_others(monkeypatch):
    opened = Access().open("s3://copernicus-dem-30m/a/b.tif")
    assert opened.target.reveal() == "https://copernicus-dem-30m.s3.eu-central-1.amazonaws.com/a/b.tif"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    assert Access().open("s3://usgs-landsat/x.TIF").target.reveal() == "s3://usgs-landsat/x.TIF"
    assert Access().open("file:///data/a%20b.tif").target.reveal() == "/data/a b.tif"


def test_the_copernicus_token_is_not_sent_over_plain_http():
    token = CopernicusToken("user", Secret(PASSWORD), url="http://127.0.0.1:9/")
    opened = Access(token).open("http://download.dataspace.copernicus.eu/odata/v1/Products(1)/$value")
    assert opened.headers == {}
