"""Search against what servers really answer: recorded Earth Search pages, a rustac server, a real static catalogue.

The recorded answers are replayed by a loopback server; their links name the real host and are turned to the loopback.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rsnb.data.download.loopback import LoopbackServer
from rsnb.data.stac import connect
from rsnb.data.stac import search as search_module
from rsnb.data.stac.catalogues import list_collections
from rsnb.data.stac.options import SearchOptions
from rsnb.data.stac.search import search
from rsnb.errors import InputError

HOST = "https://earth-search.aws.element84.com"
JSON = {"Content-Type": "application/json"}
# The five items of the real static catalogue: (day, cloud cover in percent, as their JSON files say), newest first.
REAL_33TWL = [("2023-08-20", 8.066346), ("2023-08-18", 45.745239), ("2023-08-15", 0.20399), ("2023-08-13", 1.702489),
              ("2023-08-10", 69.286209)]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Retries without their pauses."""
    monkeypatch.setattr("urllib3.util.retry.Retry.sleep", lambda self, response=None: None)


class Replay:
    """Answers like a recorded server and remembers what it was asked."""

    def __init__(self, cassette: Path, change=lambda page: page):
        import yaml

        self.interactions = yaml.safe_load(cassette.read_text())["interactions"]
        self.change, self.bodies, self.used = change, [], set()
        self.server = LoopbackServer(cassette.parent, handler=self)

    def __call__(self, method, path, headers, body):
        if method == "POST":
            self.bodies.append(json.loads(body))
        for number, interaction in enumerate(self.interactions):
            request, answer = interaction["request"], interaction["response"]
            if request["method"] != method or request["uri"].removeprefix(HOST).rstrip("/") != path.rstrip("/"):
                continue
            recorded = json.loads(request["body"] or "{}")
            if method == "POST" and recorded.get("next") != self.bodies[-1].get("next"):
                continue
            self.used.add(number)
            text = self.change(answer["body"]["string"]).replace(HOST, self.server.url)
            return answer["status"]["code"], JSON, text.encode()
        return 404, {"Content-Type": "text/plain"}, b"no such page"


@pytest.fixture
def replay(real):
    def start(name: str, change=lambda text: text):
        return Replay(real("nb1_download/stac_cassettes") / f"{name}.yaml", change)

    return start


def _with_filter(text: str) -> str:
    """The recorded server with FILTER instead of QUERY among its conformance classes."""
    values = json.loads(text)
    if "conformsTo" in values:
        values["conformsTo"] = [c for c in values["conformsTo"] if not c.endswith("#query")] + [
            "https://api.stacspec.org/v1.0.0/item-search#filter", "http://www.opengis.net/spec/cql2/1.0/conf/cql2-json",
            "http://www.opengis.net/spec/cql2/1.0/conf/basic-cql2"]
    return json.dumps(values)


def test_recorded_collections_are_listed(replay):
    recorded = replay("TestCLICollections.test_collections_inprocess")
    with recorded.server as server:
        rows = list_collections(f"{server.url}/v1")
    assert [row["id"] for row in rows] == [  # as in the recording, in alphabetical order
        "cop-dem-glo-30", "cop-dem-glo-90", "landsat-c2-l2", "naip", "sentinel-1-grd", "sentinel-2-c1-l2a",
        "sentinel-2-l1c", "sentinel-2-l2a", "sentinel-2-pre-c1-l2a"]
    assert rows[0]["title"] == "Copernicus DEM GLO-30" and rows[0]["start"] == "2021-04-22"


def test_recorded_pages_are_followed_with_a_cql2_filter(replay):
    recorded = replay("TestCLISearch.test_filter_inprocess", _with_filter)
    with recorded.server as server:
        result = search(f"{server.url}/v1", SearchOptions(max_cloud=40, max_items=12, page_size=10, sort=""))
    first = recorded.bodies[0]
    assert first["filter"] == {"op": "<=", "args": [{"property": "eo:cloud_cover"}, 40]}
    assert first["filter-lang"] == "cql2-json" and "query" not in first
    assert recorded.bodies[1]["next"].startswith("2025-07-31T13:03:25.899")  # the link's own body, second page
    # The recorded server let 3 Sentinel-1 scenes without clouds and 5 of 41 to 57 % through: 12 of its 20 items fit.
    assert len(result) == 12 and all(item.properties["eo:cloud_cover"] <= 40 for item in result.items)
    assert any("3 left out: no cloud cover stated" in note for note in result.notes)


def test_recorded_server_with_query_is_asked_by_query(replay):
    recorded = replay("TestCLISearch.test_filter_inprocess")
    with recorded.server as server:
        result = search(f"{server.url}/v1", SearchOptions(max_cloud=40, max_items=3))
    assert recorded.bodies[0]["query"] == {"eo:cloud_cover": {"lte": 40}}
    assert recorded.bodies[0]["sortby"] == [{"field": "properties.datetime", "direction": "desc"}]
    assert "filter" not in recorded.bodies[0] and recorded.bodies[0]["limit"] == 3
    assert len(recorded.bodies) == 1 and len(result) == 3  # the first page is enough
    assert result.matched == 115912757


def test_recorded_search_of_two_collections(replay):
    recorded = replay("TestCLISearch.test_matched_inprocess")
    two = replay("test_multiple_collections")
    two.interactions = recorded.interactions[:1] + two.interactions  # its recording begins after the landing page
    options = SearchOptions(collections=("sentinel-2-l2a", "landsat-c2-l2"), start="2023-10-08", end="2023-10-08",
                            geometry={"type": "Point", "coordinates": [-105.1019, 40.1672]}, page_size=10, max_items=10)
    with two.server as server:
        result = search(f"{server.url}/v1", options)
    asked = two.bodies[0]
    assert asked["datetime"] == "2023-10-08T00:00:00Z/2023-10-08T23:59:59Z"
    assert asked["intersects"] == {"type": "Point", "coordinates": [-105.1019, 40.1672]}
    assert [i.id for i in result.items] == ["S2A_13TDE_20231008_0_L2A", "LC08_L2SP_033032_20231008_02_T1"]
    assert result.matched == 2 and result.notes == ()


def test_a_recorded_server_without_conformance_classes_still_answers(replay, monkeypatch):
    recorded = replay("TestCLISearch.test_non_conformant_can_be_fixed_inprocess")
    options = SearchOptions(collections="sentinel-s2-l2a-cogs", max_items=1, max_cloud=100)
    monkeypatch.setattr(search_module, "SCAN_LIMIT", 1)  # else it would ask for page two, which was not recorded
    with recorded.server as server:
        result = search(f"{server.url}/v0", options)
    assert set(recorded.bodies[0]) <= {"collections", "limit", "datetime"}  # nothing that is not listed
    assert len(result) == 1 and result.items[0].collection_id == "sentinel-s2-l2a-cogs"
    text = "; ".join(result.notes)
    assert "no conformance classes" in text and "cannot filter" in text and "cannot sort" in text


def test_recorded_elevation_tiles_parse(replay):
    recorded = replay("TestCLISearch.test_save_inprocess")
    with recorded.server as server:
        result = search(f"{server.url}/v1", SearchOptions(collections="cop-dem-glo-30", max_items=10))
    assert len(result) == 10 and result.matched == 26450
    assert all(item.collection_id == "cop-dem-glo-30" for item in result.items)


# --- a real STAC server of another make, which does not filter and does not sort

@pytest.fixture(scope="module")
def rustac(real, tmp_path_factory):
    program = Path(sys.executable).with_name("rustac")
    if not program.exists() and not shutil.which("rustac"):
        pytest.skip("rustac is not installed")
    folder = tmp_path_factory.mktemp("rustac")
    root = real("nb6_temporal/earthsearch_33TWL/sentinel-2-l2a")
    items = [json.loads(p.read_text()) for p in sorted(root.glob("*/S2*.json"))]
    items += [json.loads(p.read_text()) for p in sorted(real("nb1_download/earthsearch_items").glob("*.json"))]
    collection = json.loads((root / "collection.json").read_text()) | {"links": []}
    (folder / "collection.json").write_text(json.dumps(collection))
    (folder / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([program if program.exists() else "rustac", "serve", folder / "collection.json",
                                folder / "items.json", "--addr", f"127.0.0.1:{port}"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", items
    finally:
        process.terminate()
        process.wait(10)


def test_the_silent_trap_of_a_server_without_filter(rustac):
    """pystac-client with `query` gets 0 items from this server and no error; ours filters by itself and says so."""
    import warnings

    from pystac_client import Client

    url, items = rustac
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = list(Client.open(url).search(query={"eo:cloud_cover": {"lte": 20}}).items())
    assert plain == []  # the trap is real: where this fails, the server has learnt to filter
    expected = {i["id"] for i in items if i["properties"]["eo:cloud_cover"] <= 20}
    assert len(expected) == 5  # counted in the 14 files
    result = search(url, SearchOptions(max_cloud=20))
    assert {item.id for item in result.items} == expected and result.matched == 5
    assert any("cannot filter" in note for note in result.notes)


@pytest.mark.parametrize("sort, key, reverse", [
    ("cloud", lambda i: i["properties"]["eo:cloud_cover"], False),
    ("-datetime", lambda i: i["properties"]["datetime"], True),
    ("id", lambda i: i["id"], False),
    ("-properties.view:sun_elevation", lambda i: i["properties"]["view:sun_elevation"], True),
])
def test_sorting_is_done_here_over_all_pages(rustac, sort, key, reverse):
    url, items = rustac
    expected = [i["id"] for i in sorted(items, key=key, reverse=reverse)][:4]
    result = search(url, SearchOptions(sort=sort, max_items=4, page_size=3))  # five pages
    assert [item.id for item in result.items] == expected
    assert result.matched == 14 and any("cannot sort" in note for note in result.notes)


def test_place_and_time_together(rustac):
    url, _ = rustac
    result = search(url, SearchOptions(bbox=(15.2, 45.3, 15.4, 45.5), start="2023-08-13", end="2023-08-15",
                                       collections="sentinel-2-l2a"))
    assert [str(i.datetime.date()) for i in result.items] == ["2023-08-15", "2023-08-13"]


def test_an_unknown_collection_is_named_with_the_known_ones(rustac):
    with pytest.raises(InputError, match="no collection 'sentinel-9'.*Choose of sentinel-2-l2a"):
        search(rustac[0], SearchOptions(collections="sentinel-9"))


# --- a static catalogue, from disk and over http

@pytest.mark.parametrize("over_http", [False, True])
def test_a_static_catalogue_is_walked(real, over_http):
    root = real("nb6_temporal/earthsearch_33TWL")
    with LoopbackServer(root) as server:
        result = search(f"{server.url}/catalog.json" if over_http else root)
    found = [(str(item.datetime.date()), item.properties["eo:cloud_cover"]) for item in result.items]
    assert found == REAL_33TWL and result.matched == 5 and result.notes == ()
    red = result.items[0].assets["red"].get_absolute_href()
    assert red.startswith(server.url if over_http else str(root)) and red.endswith("S2B_33TWL_20230820_0_L2A/B04.tif")


def test_a_static_catalogue_is_filtered_and_its_collections_listed(real):
    root = real("nb6_temporal/earthsearch_33TWL")
    options = SearchOptions(start="2023-08-12", end="2023-08-19", max_cloud=10, sort="cloud")
    assert [str(i.datetime.date()) for i in search(root, options).items] == ["2023-08-15", "2023-08-13"]
    assert len(search(root, SearchOptions(bbox=(24.8, 60.1, 25.2, 60.3)))) == 0  # Helsinki
    assert [row["id"] for row in list_collections(root)] == ["sentinel-2-l2a"]
    assert len(search(root / "sentinel-2-l2a" / "collection.json", SearchOptions(max_items=3))) == 3


def _item(name: str, bbox, moment: str | None = "2023-01-01T00:00:00Z", **properties) -> dict:
    west, south, east, north = bbox
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Feature", "stac_version": "1.0.0", "id": name, "collection": "c", "links": [], "assets": {},
            "bbox": list(bbox), "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"datetime": moment, **properties}}


def _static(folder: Path, items: dict[str, dict | str]) -> Path:
    links = [{"rel": "item", "href": f"./{name}.json"} for name in items]
    (folder / "catalog.json").write_text(json.dumps(
        {"type": "Catalog", "id": "made", "stac_version": "1.0.0", "description": "made", "links": links}))
    for name, item in items.items():
        if item is not None:
            (folder / f"{name}.json").write_text(item if isinstance(item, str) else json.dumps(item))
    return folder


def test_one_damaged_and_one_missing_item_do_not_stop_the_rest(tmp_path):
    root = _static(tmp_path, {"good": _item("good", (0, 0, 1, 1)), "cut": '{"type": "Feature", ', "gone": None,
                              "undated": _item("undated", (0, 0, 1, 1), None)})
    result = search(root, SearchOptions(start="2022"))
    assert [item.id for item in result.items] == ["good"]
    text = "; ".join(result.notes)
    assert "cut.json could not be read" in text and "gone.json could not be read" in text
    assert "undated.json could not be read" in text and "datetime" in text


def test_a_catalogue_that_links_in_a_circle_and_items_that_do_not_name_their_collection(tmp_path):
    nameless = _item("nameless", (0, 0, 1, 1))
    del nameless["collection"]
    root = _static(tmp_path, {"nameless": nameless})
    values = json.loads((root / "catalog.json").read_text())
    extent = {"spatial": {"bbox": [[0, 0, 1, 1]]}, "temporal": {"interval": [["2023-01-01T00:00:00Z", None]]}}
    collection = values | {"type": "Collection", "id": "named", "license": "other", "extent": extent}
    collection["links"] = values["links"] + [{"rel": "child", "href": "./catalog.json"}]
    (root / "collection.json").write_text(json.dumps(collection))
    values["links"] = [{"rel": "child", "href": "./collection.json"}]
    (root / "catalog.json").write_text(json.dumps(values))
    assert [i.collection_id for i in search(root, SearchOptions(collections="named")).items] == ["named"]
    with pytest.raises(InputError, match="no collection 'other'"):
        search(root, SearchOptions(collections="other"))


def test_a_saved_search_result_is_searched_like_a_catalogue(real):
    """Nine Sentinel-2 tiles of one strip over Africa, from 7 to 16 degrees south; 11.35 S lies in T35LNH alone."""
    path = real("nb1_download/odc_stac_items") / "site1-20200606-tall-strip-africa.geojson"
    assert len(search(path)) == 9
    result = search(path, SearchOptions(bbox=(27.4, -11.4, 27.6, -11.3)))
    assert [item.id.split("_")[4] for item in result.items] == ["T35LNH"]
    assert len(search(path, SearchOptions(start="2020-06-07"))) == 0


def test_a_collection_whose_items_lie_behind_an_api_says_so(real):
    path = real("nb1_download/odc_stac_items") / "sentinel-2-l2a.collection.json"
    result = search(path)
    assert len(result) == 0
    (note,) = result.notes
    assert "planetarycomputer.microsoft.com/api/stac/v1/collections/sentinel-2-l2a/items" in note
    assert list_collections(path)[0]["start"] == "2015-06-27"


def test_both_sides_of_the_antimeridian(tmp_path):
    fiji = {"west": _item("west", (179, -18, 179.9, -17)), "east": _item("east", (-180, -18, -179.5, -17)),
            "over": _item("over", (179.5, -18, -179.5, -17)), "far": _item("far", (0, -18, 10, -17))}
    fiji["over"]["geometry"] = {"type": "MultiPolygon", "coordinates": [  # cut, as RFC 7946 wants it
        [[[179.5, -18], [180, -18], [180, -17], [179.5, -17], [179.5, -18]]],
        [[[-180, -18], [-179.5, -18], [-179.5, -17], [-180, -17], [-180, -18]]]]}
    result = search(_static(tmp_path, fiji), SearchOptions(bbox=(178, -19, -179, -16), sort="id"))
    assert [item.id for item in result.items] == ["east", "over", "west"]
    assert any("antimeridian" in note for note in result.notes)


# --- servers that misbehave

class Api:
    """A small STAC API made of a function from the search body to a page."""

    def __init__(self, page, conforms=("core", "item-search"), methods=("GET", "POST")):
        self.page, self.asked, self.methods = page, [], methods
        self.conforms = [f"https://api.stacspec.org/v1.0.0/{c}" for c in conforms]
        self.server = LoopbackServer(Path(__file__).parent, handler=self)

    def __call__(self, method, path, headers, body):
        from urllib.parse import parse_qs, urlsplit

        url = self.server.url
        if path == "/":
            links = [{"rel": "search", "type": "application/geo+json", "href": f"{url}/search", "method": m}
                     for m in self.methods] + [{"rel": "data", "href": f"{url}/collections"}]
            landing = {"type": "Catalog", "id": "api", "stac_version": "1.0.0", "description": "d", "links": links,
                       "conformsTo": self.conforms}
            return 200, JSON, json.dumps(landing).encode()
        if path.startswith("/search"):
            if method not in self.methods:
                return 405, {}, b"no"
            asked = json.loads(body) if body else {k: v[0] for k, v in parse_qs(urlsplit(path).query).items()}
            self.asked.append(asked)
            answer = self.page(asked, url)
            return answer if isinstance(answer, tuple) else (200, JSON, json.dumps(answer).encode())
        return 404, {}, b""


def _page(items, following=None, **more):
    links = [] if following is None else [{"rel": "next", "method": "POST", "href": following[0], "body": following[1]}]
    return {"type": "FeatureCollection", "features": items, "links": links, **more}


def test_both_sides_of_the_antimeridian_are_asked_and_what_comes_twice_is_kept_once():
    over = _item("over", (179.5, -18, -179.5, -17))
    over["geometry"] = None
    api = Api(lambda asked, url: _page([over, _item(f"at{asked['bbox'][0]:g}", asked["bbox"])], numberMatched=2))
    with api.server as server:
        result = search(server.url, SearchOptions(bbox=(178, -19, -179, -16), sort=""))
    assert [asked["bbox"] for asked in api.asked] == [[178, -19, 180, -16], [-180, -19, -179, -16]]
    assert sorted(i.id for i in result.items) == ["at-180", "at178", "over"]
    assert any("antimeridian" in n for n in result.notes) and any("came twice" in n for n in result.notes)


def test_a_server_that_gives_the_same_page_for_ever_is_left():
    api = Api(lambda asked, url: _page([_item("one", (0, 0, 1, 1))], (f"{url}/search", {"next": "again"})))
    with api.server as server:
        result = search(server.url, SearchOptions(max_items=5))
    assert [i.id for i in result.items] == ["one"] and len(api.asked) == 2


def test_what_was_not_asked_for_is_left_out_and_told():
    sent = [_item("here", (0, 0, 1, 1)), _item("elsewhere", (50, 50, 51, 51)),
            _item("old", (0, 0, 1, 1), "2001-01-01T00:00:00Z")]
    api = Api(lambda asked, url: _page(sent))
    with api.server as server:
        result = search(server.url, SearchOptions(bbox=(0, 0, 2, 2), start="2022"))
    assert [i.id for i in result.items] == ["here"]
    assert sum("that were not asked for" in note for note in result.notes) == 2


def test_one_invalid_item_of_a_page_is_left_out():
    api = Api(lambda asked, url: _page([{"type": "Feature", "id": "bad"}, _item("good", (0, 0, 1, 1))]))
    with api.server as server:
        result = search(server.url)
    assert [i.id for i in result.items] == ["good"] and any("bad is no valid item" in n for n in result.notes)


@pytest.mark.parametrize("methods", [("GET",), ()])
def test_a_server_that_knows_get_alone(methods):
    api = Api(lambda asked, url: _page([_item("one", (0, 0, 1, 1))]), methods=("GET",))
    landing = api.__call__

    def quiet(method, path, headers, body):  # links that do not say their method
        status, kind, content = landing(method, path, headers, body)
        if path == "/" and not methods:
            values = json.loads(content)
            for link in values["links"]:
                link.pop("method", None)
            content = json.dumps(values).encode()
        return status, kind, content

    api.server.handler = quiet
    with api.server as server:
        assert len(search(server.url, SearchOptions(bbox=(0, 0, 2, 2)))) == 1
    assert api.asked[0]["bbox"] == "0.0,0.0,2.0,2.0"


@pytest.mark.parametrize("answer, words", [
    ((404, {}, b"gone"), "no such page .404."),
    ((403, {}, b"no"), "refuses .403.*credentials"),
    ((400, JSON, b'{"code": "BadRequest", "description": "too many"}'), "refuses the search .400.*too many"),
    ((429, {"Retry-After": "1"}, b""), "slow down .429."),
    ((503, {}, b""), "in trouble .503."),
    ((200, {"Content-Type": "text/html"}, b"<html>log in</html>"), "no JSON.*login or proxy page"),
])
@pytest.mark.parametrize("on_search", [False, True])
def test_answers_that_are_errors_say_what_to_do(answer, words, on_search):
    api = Api(lambda asked, url: answer)
    if not on_search:
        api.server.handler = lambda *request: answer
    with api.server as server, pytest.raises(InputError, match=words) as error:
        search(server.url)
    assert server.url in str(error.value)


@pytest.mark.parametrize("status", [400, 422, 501])
def test_a_server_that_refuses_what_it_lists_is_asked_plainly(status):
    def page(asked, url):
        if asked.keys() & {"sortby", "query"}:
            return status, JSON, b'{"description": "cannot sort by properties.datetime"}'
        return _page([_item("old", (0, 0, 1, 1), **{"eo:cloud_cover": 5}),
                      _item("new", (0, 0, 1, 1), "2024-01-01T00:00:00Z", **{"eo:cloud_cover": 5}),
                      _item("grey", (0, 0, 1, 1), **{"eo:cloud_cover": 95})])

    api = Api(page, ("core", "item-search", "item-search#sort", "item-search#query"))
    with api.server as server:
        result = search(server.url, SearchOptions(max_cloud=10))
    assert [i.id for i in result.items] == ["new", "old"] and len(api.asked) == 2
    assert any(f"refuses to filter or sort ({status})" in note for note in result.notes)


def test_what_came_before_the_server_broke_off_is_kept():
    def page(asked, url):
        if "next" in asked:
            return 500, {}, b""
        return _page([_item("one", (0, 0, 1, 1))], (f"{url}/search", {"next": "2"}), numberMatched=7)

    api = Api(page)
    with api.server as server:
        result = search(server.url)
    assert [i.id for i in result.items] == ["one"]
    assert any("broke off after 1 items (500)" in note for note in result.notes)


def test_a_passing_trouble_is_tried_again():
    answers = [(503, {}, b""), (429, {}, b""), _page([_item("one", (0, 0, 1, 1))])]
    api = Api(lambda asked, url: answers[len(api.asked) - 1])
    with api.server as server:
        assert len(search(server.url)) == 1
    assert len(api.asked) == 3


@pytest.mark.parametrize("landing", [{"hello": 1}, {"type": "FeatureCollection", "features": []}, [1], "text"])
def test_json_that_is_no_catalogue(landing):
    answer = 200, JSON, json.dumps(landing).encode()
    with LoopbackServer(Path(__file__).parent, handler=lambda *request: answer) as server, \
            pytest.raises(InputError, match="no STAC catalogue"):
        search(server.url)


@pytest.mark.parametrize("damage", [{"type": "Feature"}, {"extent": {"temporal": {"interval": []}}}, {"links": 3}])
def test_a_damaged_collection_is_said(damage):
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [["2020-01-01T00:00:00Z", None]]}}
    for part in damage.get("extent", {}):
        damage = {"extent": {**extent, part: damage["extent"][part]}}
    collection = {"type": "Collection", "id": "c", "stac_version": "1.0.0", "description": "d", "license": "x",
                  "extent": extent, "links": [], **damage}
    api = Api(lambda asked, url: {})

    def answer(method, path, headers, body):
        if path.startswith("/collections"):
            return 200, JSON, json.dumps({"collections": [collection], "links": []}).encode()
        return api(method, path, headers, body)

    with LoopbackServer(Path(__file__).parent, handler=answer) as server:
        api.server = server
        with pytest.raises(InputError, match="the catalogue is damaged"):
            list_collections(server.url)
        collection |= {"type": "Collection", "extent": extent, "links": []}
        # listed although the server's conformance classes do not say that it has collections
        assert [row["id"] for row in list_collections(server.url)] == ["c"]


def test_without_a_network_the_mend_says_so():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(InputError, match="no answer from the server.*static catalogue on disk"):
        search(closed)


def test_a_server_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(connect, "READ_TIMEOUT", 0.2)
    monkeypatch.setattr(connect, "RETRIES", 0)
    with LoopbackServer(Path(__file__).parent, handler=lambda *r: time.sleep(1.0)) as server, \
            pytest.raises(InputError, match="took too long"):
        search(server.url)

