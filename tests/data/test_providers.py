"""Providers: files with EXIF written by PIL, GeoTIFFs by rasterio, Mapillary's documented answers over loopback."""

from __future__ import annotations

import io
import json
import logging
import math
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import rasterio
from PIL import Image
from PIL.TiffImagePlugin import IFDRational
from rasterio.transform import from_origin
from rasterio.warp import transform

from rsnb.data.download.loopback import LoopbackServer
from rsnb.data.providers import mapillary
from rsnb.data.providers.folder import FolderProvider
from rsnb.data.providers.mapillary import MapillaryProvider
from rsnb.data.providers.picture_metadata import exif_of
from rsnb.data.providers.provider import ImageProvider
from rsnb.errors import InputError
from rsnb.scenes import Georeference

HELSINKI = Georeference("EPSG:3879", (25490000.0, 6668000.0, 0.0))
KEY = "MLY|4223665974375089|abcdef0123456789"


def picture(path, size=(32, 16), colour=(200, 100, 50), exif=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.new("RGB", size, colour)
    image.save(path, **({} if exif is None else {"exif": exif}))
    return path


def gps(lat, lon, heading=None, reference="T"):
    """EXIF with degrees, minutes and seconds as three fractions, as cameras write them."""
    def parts(value):
        value = abs(value)
        minutes = (value % 1) * 60
        return (IFDRational(int(value)), IFDRational(int(minutes)), IFDRational(round((minutes % 1) * 60 * 1000), 1000))

    exif = Image.Exif()
    block = {1: "N" if lat >= 0 else "S", 2: parts(lat), 3: "E" if lon >= 0 else "W", 4: parts(lon)}
    if heading is not None:
        block |= {16: reference, 17: IFDRational(round(heading * 100), 100)}
    exif[0x8825] = block
    exif[0x8769] = {0x9003: "2021:07:14 12:34:56"}
    return exif


@pytest.fixture
def folder(tmp_path):
    picture(tmp_path / "walk/a.jpg", exif=gps(-35.2812, -149.1287, 271.25))
    picture(tmp_path / "walk/compass.jpg", (30, 20), exif=gps(60.1699, 24.9384, 90.0, "M"))
    picture(tmp_path / "side.png")
    (tmp_path / "side.json").write_text('{"lat": 60.17, "lon": 24.94, "heading_deg": 45, "date": "2020-05-01"}')
    picture(tmp_path / "none.jpg")
    picture(tmp_path / "known.jpg", (20, 20))
    (tmp_path / "panos.txt").write_text("Pano_ID,Lat,Lon\nknown,60.2000,24.9000\n")
    return tmp_path


def test_places_from_exif_sidecar_and_panos(folder):
    provider = FolderProvider(folder)
    assert isinstance(provider, ImageProvider)
    assert set(provider.ids) == {"a", "compass", "side", "known"} and provider.without_place == 1
    a = provider.street_view("a")
    # The seconds were rounded to thousandths: 3 cm.
    assert a.lat == pytest.approx(-35.2812, abs=3e-7) and a.lon == pytest.approx(-149.1287, abs=3e-7)
    assert math.degrees(a.heading) == pytest.approx(271.25) and a.date == "2021-07-14T12:34:56"
    assert a.kind == "panorama" and a.fov == 2 * math.pi and math.isnan(a.distance_m) and a.image.shape == (3, 16, 32)
    assert np.abs(a.image.mean(axis=(1, 2)) * 255 - [200, 100, 50]).max() < 3
    # A compass bearing is none from true north: the declination is not known here.
    compass = provider.street_view("compass")
    assert math.isnan(compass.heading) and compass.kind == "pinhole" and compass.fov is None
    side = provider.street_view("side")
    assert (side.lat, side.lon, side.date) == (60.17, 24.94, "2020-05-01") and math.degrees(side.heading) == 45.0
    assert provider.street_view("known").lat == 60.2 and "panos.txt" in provider.street_view("known").source


def test_the_nearest_picture_and_how_far_it_is(folder):
    provider = FolderProvider(folder, terms="mine")
    near = provider.street_view(lat=60.1700, lon=24.9401)
    # 0.0001 degrees of longitude at 60.17 N: 111.2 km/degree * cos(60.17) * 0.0001 = 5.53 m.
    assert near.id == "side" and near.distance_m == pytest.approx(5.53, abs=0.02) and near.terms == "mine"
    with pytest.raises(InputError, match=r"nearest picture lies .* m away, further than 50 m"):
        provider.street_view(lat=60.19, lon=24.94)
    assert provider.street_view(lat=60.19, lon=24.94, max_distance_m=5000).id == "side"


@pytest.mark.parametrize(("arguments", "what"), [
    ({}, "either an id or"), ({"pano_id": "a", "lat": 1.0, "lon": 2.0}, "either an id or"), ({"lat": 60.0}, "no place"),
    ({"lat": 149.0, "lon": -35.0}, "look swapped"), ({"lat": math.nan, "lon": 2.0}, "no place"),
    ({"pano_id": "none"}, "no picture 'none' with a known place"),
])
def test_requests_that_cannot_be_answered(folder, arguments, what):
    with pytest.raises(InputError, match=what):
        FolderProvider(folder).street_view(**arguments)


def test_street_view_names_and_model_positions(tmp_path):
    name = "tile-1-2-coord-6250-4750-fov-90-direction-10-pitch-0.jpg"
    picture(tmp_path / name, (20, 20))
    picture(tmp_path / "p.jpg")
    (tmp_path / "p.json").write_text(json.dumps({"position": [6260.0, 4750.0, 5.0], "heading_deg": 0.0}))
    assert FolderProvider(tmp_path).ids == ()
    provider = FolderProvider(tmp_path, HELSINKI)
    import pyproj

    lon, lat = pyproj.Transformer.from_crs("EPSG:3879", "EPSG:4326", always_xy=True).transform(25496250, 6672750)
    found = provider.street_view(lat=lat, lon=lon)
    assert found.id == name[:-4] and found.distance_m < 0.01 and found.fov == pytest.approx(math.pi / 2)
    # Grid north leans by the meridian convergence, (lon - 25) sin lat = -0.06 degrees here.
    assert math.degrees(found.heading) == pytest.approx(10 + (lon - 25) * math.sin(math.radians(lat)), abs=1e-4)
    assert provider.street_view("p").distance_m != provider.street_view("p").distance_m
    assert provider.street_view(lat=lat, lon=lon + 1.8e-4).id == "p"


def test_broken_sidecar_and_empty_folder(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        FolderProvider(tmp_path / "nowhere")
    with pytest.raises(InputError, match="none of the 0 pictures"):
        FolderProvider(tmp_path).street_view("x")
    picture(tmp_path / "a.jpg")
    for text in ("{", '{"lat": "north", "lon": 2}', '{"lat": 60.0}', "[1]", '{"lat": 124.9, "lon": 60}',
                 '{"lat": 60, "lon": NaN}', '{"lat": 60, "lon": 24, "fov_deg": 0}', '{"position": [NaN, 1, 2]}',
                 '{"lat": 60, "lon": 24, "heading_deg": Infinity}', f'{{"lat": {10**400}, "lon": 24}}'):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InputError, match="cannot be understood") as error:
            FolderProvider(tmp_path, Georeference("EPSG:3879", (0.0, 0.0, 0.0)))
        assert error.value.where == tmp_path / "a.json" and error.value.mend


def test_exif_that_lies_is_no_place(tmp_path):
    assert "lat" not in exif_of(picture(tmp_path / "zero.jpg", exif=gps(0.0, 0.0)))
    exif = gps(10.0, 10.0)
    exif[0x8825] = {1: "N", 2: (IFDRational(1, 0),) * 3, 3: "E", 4: (IFDRational(1),) * 3}
    assert "lat" not in exif_of(picture(tmp_path / "nan.jpg", exif=exif))
    (tmp_path / "text.jpg").write_text("no picture")
    assert exif_of(tmp_path / "text.jpg") == {}


@pytest.fixture
def raster(tmp_path):
    """A quarter-metre raster in UTM 35: red grows to the east, green to the north, 255 a 100 m."""
    easting, northing = 386000.0, 6672000.0
    step = np.arange(400) * 0.25 + 0.125
    red = np.repeat(step[None] * 2.55, 400, axis=0)
    green = np.repeat((100 - step)[:, None] * 2.55, 400, axis=1)
    data = np.stack([red, green, np.full((400, 400), 77.0)]).round().astype(np.uint8)
    with rasterio.open(tmp_path / "top.tif", "w", driver="GTiff", width=400, height=400, count=3, dtype="uint8",
                       crs="EPSG:32635", transform=from_origin(easting, northing + 100, 0.25, 0.25)) as file:
        file.write(data)
    return tmp_path


def test_a_view_from_above_is_cut_out_of_a_geotiff(raster):
    import pyproj

    to_place = pyproj.Transformer.from_crs("EPSG:32635", "EPSG:4326", always_xy=True)
    lon, lat = to_place.transform(386050.0, 6672040.0)
    view = FolderProvider(raster).top_view(lat, lon, extent_m=40.0, size=80)
    assert view.image.shape == (3, 80, 80) and view.kind == "top" and view.extent_m == 40.0 and view.id == "top"
    centre = view.image[:, 39:41, 39:41].mean(axis=(1, 2)) * 100  # metres east and north of the corner
    assert centre[:2] == pytest.approx([50.0, 40.0], abs=0.5) and centre[2] == pytest.approx(7700 / 255, abs=0.3)
    # Up is true north: the geodesic 15 m north of the place is 30 pixels above the middle.
    lon2, lat2, _ = pyproj.Geod(ellps="WGS84").fwd(lon, lat, 0.0, 15.0)
    east, north = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32635", always_xy=True).transform(lon2, lat2)
    above = view.image[:, 9:11, 39:41].mean(axis=(1, 2)) * 100
    assert above[:2] == pytest.approx([east - 386000, north - 6672000], abs=0.5)
    assert abs(east - 386050.0) > 0.3  # UTM's north would be elsewhere
    with pytest.raises(InputError, match=r"covers \d+ % of the square"):
        FolderProvider(raster).top_view(lat, lon, extent_m=90.0)
    with pytest.raises(InputError, match="covers 0 %"):
        FolderProvider(raster).top_view(lat + 1, lon)


def test_rasters_that_are_no_pictures(tmp_path, raster):
    with rasterio.open(raster / "top.tif") as file:
        profile, data = file.profile, file.read()
        lon, lat = transform(file.crs, "EPSG:4326", [386050.0], [6672050.0])
    (raster / "top.tif").unlink()
    for change, array, what in (({"dtype": "uint16"}, data.astype(np.uint16), "holds uint16"),
                                ({"crs": None}, data, "no coordinate system"),
                                ({"dtype": "float32"}, data.astype(np.float32), "expected 0 to 1")):
        with rasterio.open(raster / "other.tif", "w", **(profile | change)) as file:
            file.write(array)
        with pytest.raises(InputError, match=what):
            FolderProvider(raster).top_view(lat[0], lon[0], extent_m=20.0)
    with rasterio.open(raster / "other.tif", "w", **(profile | {"count": 4, "photometric": "RGB"})) as file:
        file.write(np.concatenate([data, np.full((1, 400, 400), 255, np.uint8)]))
        file.colorinterp = [*file.colorinterp[:3], rasterio.enums.ColorInterp.alpha]
    assert FolderProvider(raster).top_view(lat[0], lon[0], extent_m=20.0, size=16).image[2].mean() == pytest.approx(
        77 / 255, abs=1e-3)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no raster here"):
        FolderProvider(tmp_path / "empty").top_view(lat[0], lon[0])


def entry(number, lat, lon, **more):
    """A picture as the API documents it: GeoJSON points, milliseconds, degrees."""
    return {"id": str(number), "geometry": {"type": "Point", "coordinates": [lon, lat]}, "compass_angle": 10.0,
            "captured_at": 1507560881000, "is_pano": True, "creator": {"username": "maria", "id": "1"}, **more}


class Service:
    """Mapillary's API as documented, with three panoramas near 60.17, 24.94 and a picture host without a key."""

    def __init__(self):
        self.pictures = {str(n): entry(n, 60.17 + 1e-4 * n, 24.94) for n in (1, 2, 3)}
        # The computed position wins over the camera's GPS.
        self.pictures["1"]["computed_geometry"] = {"type": "Point", "coordinates": [24.94, 60.1703]}
        self.pictures["2"]["computed_compass_angle"] = 200.93476466846
        self.keys, self.boxes, self.url, self.answer = [], [], "", None
        blob = io.BytesIO()
        Image.new("RGB", (64, 32), (10, 200, 30)).save(blob, "JPEG")
        self.jpeg = blob.getvalue()

    def __call__(self, method, path, headers, body):
        headers = {k.lower(): v for k, v in headers.items()}
        parts = urlsplit(path)
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        self.keys.append((parts.path, headers.get("authorization")))
        if parts.path.startswith("/cdn/"):
            return 200, {"Content-Type": "image/jpeg"}, self.jpeg
        if self.answer is not None:
            return self.answer
        if headers.get("authorization") != f"OAuth {KEY}":
            return self.error(401, f"Invalid OAuth access token {headers.get('authorization')}", 190)
        fields = query["fields"].split(",")
        if parts.path == "/images":
            west, south, east, north = (float(v) for v in query["bbox"].split(","))
            self.boxes.append((west, south, east, north))
            found = [self.shown(p, fields) for p in self.pictures.values()
                     if south <= p["geometry"]["coordinates"][1] <= north]
            return self.json({"data": found, "paging": {"next": f"{self.url}/images?access_token={KEY}"}})
        if parts.path[1:] in self.pictures:
            return self.json(self.shown(self.pictures[parts.path[1:]], fields))
        return self.error(400, "Unsupported get request. Object with ID does not exist", 100)

    def shown(self, picture_, fields):
        known = picture_ | {"thumb_2048_url": f"{self.url}/cdn/{picture_['id']}.jpg?sig=1"}
        return {name: known[name] for name in fields if name in known}

    def json(self, value, status=200):
        return status, {"Content-Type": "application/json"}, json.dumps(value).encode()

    def error(self, status, message, code):
        return self.json({"error": {"message": message, "type": "OAuthException", "code": code}}, status)


@pytest.fixture
def service(tmp_path, monkeypatch):
    """(service, make): make(**options) is a provider that asks it."""
    made = Service()
    monkeypatch.setenv("MAPILLARY_TOKEN", KEY)
    shown = []
    with LoopbackServer(tmp_path, handler=made) as server:
        made.url, made.shown_terms = server.url, shown

        def make(**options):
            return MapillaryProvider(tmp_path / "cache", api=server.url, pause_s=0.0, show=shown.append, **options)

        yield made, make


def test_nearest_panorama_with_its_true_position_and_attribution(service, caplog):
    made, make = service
    caplog.set_level(logging.DEBUG)
    provider = make()
    assert isinstance(provider, ImageProvider)
    view = provider.street_view(lat=60.1702, lon=24.94)
    # Picture 2 stands exactly there; picture 1 was moved to 60.1703 by its computed position.
    assert view.id == "2" and view.distance_m == pytest.approx(0.0, abs=0.01)
    assert (view.lat, view.lon) == (60.1702, 24.94)
    assert math.degrees(view.heading) == pytest.approx(200.93476466846)
    assert view.date == "2017-10-09T14:54:41+00:00"  # 1507560881 s after 1970
    assert view.kind == "panorama" and view.image.shape == (3, 32, 64)
    assert "maria" in view.terms and "BY-SA" in view.terms
    assert made.shown_terms == [mapillary.TERMS] and provider.spent == 3
    # The box holds the 50 m around the place: 50 / 111195 degrees north, twice that east at 60.17.
    (west, south, east, north), = made.boxes
    assert (north - south) / 2 == pytest.approx(4.4966e-4, rel=1e-3)
    assert (east - west) / 2 == pytest.approx(4.4966e-4 / math.cos(math.radians(60.1702)), rel=1e-3)
    # The key went to the API alone, and is written nowhere.
    assert made.keys == [("/images", f"OAuth {KEY}"), ("/2", f"OAuth {KEY}"), ("/cdn/2.jpg", None)]
    everything = b"".join(p.read_bytes() for p in provider.cache.rglob("*") if p.is_file())
    secret = KEY.split("|")[2]
    assert secret.encode() not in everything and secret not in repr(provider) + caplog.text + repr(view)


def test_what_was_fetched_costs_no_request_again(service, monkeypatch):
    made, make = service
    first = make().street_view(lat=60.1702, lon=24.94)
    monkeypatch.delenv("MAPILLARY_TOKEN")
    count = len(made.keys)
    again, by_id = make().street_view(lat=60.1702, lon=24.94), make().street_view("2")
    assert len(made.keys) == count
    assert np.array_equal(again.image, first.image) and by_id.lat == first.lat and math.isnan(by_id.distance_m)
    with pytest.raises(InputError, match="MAPILLARY_TOKEN is not set"):
        make().street_view("1")


def test_an_old_search_asks_for_a_fresh_address(service):
    made, make = service
    make().street_view(lat=60.1702, lon=24.94)
    make().street_view(lat=60.17031, lon=24.94)
    (make().cache / "2.jpg").unlink()
    make().street_view(lat=60.1702, lon=24.94)
    assert [path for path, _ in made.keys[-2:]] == ["/2", "/cdn/2.jpg"]


def test_by_id_and_ids_that_are_none(service):
    made, make = service
    view = make().street_view("1")
    assert (view.lat, view.lon) == (60.1703, 24.94) and math.degrees(view.heading) == pytest.approx(10.0)
    with pytest.raises(InputError, match="there is no such picture .*does not exist"):
        make().street_view("99")
    with pytest.raises(InputError, match="no id of Mapillary's"):
        make().street_view("../../etc")
    with pytest.raises(InputError, match="no panorama within 50 m"):
        make().street_view(lat=10.0, lon=20.0)
    with pytest.raises(InputError, match="no views from above"):
        make().top_view(60.17, 24.94)


def test_the_session_limit_refuses_with_a_reason(service):
    made, make = service
    provider = make(limit=3)
    provider.street_view("1")
    with pytest.raises(InputError, match=r"3 requests were made.*does not gather data sets"):
        make(limit=3).street_view("2")  # another provider of the same service: counted together
    assert provider.spent == 3 and provider.street_view("1").id == "1"  # the cache still answers
    with pytest.raises(InputError, match="1 to 500"):
        make(limit=100_000)


def test_crowded_boxes_are_asked_again_at_half_size(service):
    made, make = service
    made.pictures |= {str(n): entry(n, 60.1706, 24.9405) for n in range(100, 600)}
    make().street_view(lat=60.1702, lon=24.94)
    assert len(made.boxes) == 2
    assert made.boxes[1][3] - made.boxes[1][1] == pytest.approx((made.boxes[0][3] - made.boxes[0][1]) / 2, rel=1e-3)


@pytest.mark.parametrize(("answer", "what"), [
    ((401, {}, b'{"error": {"message": "Invalid token KEY", "code": 190}}'), r"refused \(Invalid token \*\*\*\)"),
    ((429, {}, b'{"error": {"message": "rate", "code": 4}}'), "slow down"),
    ((500, {}, b"<html>oops</html>"), "unexpected: status 500"), ((200, {}, b"<html>log in</html>"), "unexpected"),
    ((200, {}, b'{"data": "text"}'), "search without data"), ((200, {}, b"[]"), "unexpected"),
    ((200, {}, b'{"data": [{"id": "7"}]}'), "no panorama within"),
])
def test_answers_that_are_errors_name_a_mend_and_keep_the_secret(service, answer, what):
    made, make = service
    made.answer = (answer[0], answer[1], answer[2].replace(b"KEY", KEY.encode()))
    with pytest.raises(InputError, match=what) as error:
        make().street_view(lat=60.17, lon=24.94)
    assert error.value.mend and KEY not in str(error.value) and error.value.__cause__ is None


@pytest.mark.parametrize("field", ["geometry", "computed_geometry", "creator", "captured_at", "compass_angle"])
@pytest.mark.parametrize("value", [None, True, "x", 1e300, -1, [], {}, [1], {"coordinates": ["a", 1]},
                                   {"coordinates": [float("nan"), 1]}, {"coordinates": [1e9, 1e9]}])
def test_strange_fields_are_no_place_and_no_date(service, field, value):
    made, make = service
    made.pictures = {"1": made.pictures["1"] | {field: value}}
    provider = make()
    provider.limit = 10_000
    if field == "geometry":
        made.pictures["1"].pop("computed_geometry")
        with pytest.raises(InputError, match="picture without id or place"):
            provider.street_view("1")
        return
    view = provider.street_view("1")
    assert abs(view.lat) <= 90 and abs(view.lon) <= 180
    if field == "creator":
        assert "Picture by a contributor" in view.terms
    if field == "captured_at" and value not in (True, -1):
        assert view.date is None


def test_a_broken_cache_is_asked_again(service):
    made, make = service
    first = make().street_view(lat=60.1702, lon=24.94)
    for kept in make().cache.glob("search-*.json"):
        kept.write_text('{"data": [5]}')
    assert make().street_view(lat=60.1702, lon=24.94).id == first.id


def test_a_picture_that_is_none_is_not_kept(service):
    made, make = service
    made.jpeg = b"<html>expired</html>"
    with pytest.raises(InputError, match="no picture"):
        make().street_view("1")
    assert not list(make().cache.glob("*.jpg"))


def test_without_a_network_the_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("MAPILLARY_TOKEN", KEY)
    with LoopbackServer(tmp_path) as server:
        url = server.url  # nobody listens there after the block
    with pytest.raises(InputError, match=r"no answer from 127.0.0.1:\d+ \(ConnectionError\).*network") as error:
        MapillaryProvider(tmp_path, api=url, pause_s=0.0, show=lambda _: None).street_view("1")
    assert KEY not in str(error.value) and error.value.__suppress_context__
