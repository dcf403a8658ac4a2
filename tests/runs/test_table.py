"""The table: rows from records, conditions, order, and the written forms."""

from __future__ import annotations

import csv
import io
import json

import pytest

from rsnb.errors import InputError
from rsnb.runs import table
from rsnb.runs.gallery import write_gallery


@pytest.fixture
def records(tmp_path):
    for i, (psnr, seed) in enumerate([(30.123456, 0), (None, 1), (35.0, 2)]):
        folder = tmp_path / "02_mesh_rendering" / f"{i:016x}"
        folder.mkdir(parents=True)
        status = "failed" if psnr is None else "ok"
        (folder / "run.json").write_text(json.dumps({
            "notebook": "02_mesh_rendering", "profile": "smoke", "key": folder.name, "status": status,
            "started": f"2026-01-0{i + 1}T00:00:00+00:00", "wall_seconds": 10.0 + i, "peak_rss_bytes": 3 * 2**20,
            "metrics": {} if psnr is None else {"psnr": psnr, "vgg": {"not measured": "no trunk"}},
            "parameters": {"seed": seed, "size": 64}, "reason": "it | broke" if psnr is None else ""}))
    (tmp_path / "02_mesh_rendering" / "broken").mkdir()
    (tmp_path / "02_mesh_rendering" / "broken" / "run.json").write_text("{")
    return tmp_path


def test_rows_conditions_and_order(records):
    rows = table.rows(table.collect(records))
    assert [r["-seed"] for r in rows] == [0, 1, 2] and rows[0]["peak_rss_mib"] == 3
    assert [r["-seed"] for r in table.select(rows, ["psnr>=31"])] == [2]
    assert [r["-seed"] for r in table.select(rows, ["status=ok", "-seed<2"])] == [0]
    assert [r["-seed"] for r in table.select(rows, ["status!=ok"])] == [1]
    assert [r["-seed"] for r in table.select(rows, sort="-psnr")] == [2, 0, 1]  # without a number: last
    assert [r["-seed"] for r in table.select(rows, sort="psnr")] == [0, 2, 1]
    assert [r["-seed"] for r in table.select(rows, sort="--seed")] == [2, 1, 0]
    assert table.select(rows, columns=["psnr", "vgg"])[0] == {"psnr": 30.123456, "vgg": "not measured"}


def test_records_of_others_do_not_break_table_and_gallery(records):
    for name, text in (("old", '{"status": "ok"}'), ("list", "[]"), ("odd", '{"status": "ok", "metrics": [1]}'),
                       ("text", '{"status": "ok", "wall_seconds": "long"}')):
        (records / "50_other" / name).mkdir(parents=True)
        (records / "50_other" / name / "run.json").write_text(text)
    rows = table.rows(table.collect(records))
    assert [(r["notebook"], r["key"]) for r in rows if r["notebook"].startswith("50")] == [("50_other", "old")]
    assert len(rows) == 4 and table.compact(rows)[0]["wall"] is None
    assert "50_other-old.html" in write_gallery(records).read_text()


@pytest.mark.parametrize("arguments", [{"conditions": ["psnr"]}, {"conditions": ["psrn>3"]}, {"sort": "nothing"},
                                       {"columns": ["nothing"]}, {"conditions": ["psnr>high"]}])
def test_what_is_no_condition_or_column(records, arguments):
    with pytest.raises(InputError):
        table.select(table.rows(table.collect(records)), **arguments)


def test_written_forms(records):
    rows = table.rows(table.collect(records))
    read = list(csv.DictReader(io.StringIO(table.render(rows, "csv"))))
    assert float(read[0]["psnr"]) == 30.123456 and read[1]["reason"] == "it | broke"  # CSV keeps every digit
    assert json.loads(table.render(rows, "json"))[2]["psnr"] == 35.0
    lines = table.render(rows, "markdown").splitlines()
    assert len(lines) == 5 and "it \\| broke" in lines[3] and "| 30.12 |" in lines[2]
    with pytest.raises(InputError):
        table.render(rows, "xml")


def test_a_terminal_shows_results_and_the_parameters_that_differ(records):
    shown = table.compact(table.rows(table.collect(records)))
    assert shown[0]["results"] == "psnr 30.12, vgg not measured, -seed 0" and shown[0]["wall"] == "10 s"
    assert shown[1]["results"] == "it | broke"
