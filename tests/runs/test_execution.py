"""Execution: a record that tells the truth, whatever becomes of a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from rsnb import runs
from rsnb.errors import InputError
from rsnb.runs import planning
from rsnb.runs.execution import Busy
from rsnb.runs.record import read_record, run_lock

START = '''from rsnb import runs
run = runs.start("90_sample", out_dir=out_dir, seed=seed)'''
FINISH = '''runs.check("twice_width", 2.0 * width, 8, rtol=0.01)
run.path("note.txt").write_text(f"{scene} {width}")
run.artefact("note.txt", "a note")
run.finish()'''


@pytest.fixture
def planned(tmp_path):
    def plan(path, *overrides, **options):
        return runs.plan(str(path), overrides=overrides, runs=tmp_path / "runs", **options)

    return plan


def rsnb(*words, **options):
    return subprocess.run([sys.executable, "-m", "rsnb", *map(str, words)], capture_output=True, text=True, timeout=100,
                          **options)


def test_a_run_and_its_record(write_notebook, planned):
    path = write_notebook(START, FINISH)
    todo = planned(path, ("scene", "068"), ("seed", "3"))
    record = runs.execute(todo, progress=False)
    assert record["status"] == "ok" and record["metrics"] == {"twice_width": 8.0} and record["seed"] == 3
    assert (todo.folder / "note.txt").read_text() == "068 4"  # still a text, not the number 68
    assert {o["path"] for o in record["outputs"]} == {"90_sample.ipynb", "metrics.json", "note.txt"}
    assert record["peak_rss_bytes"] > 30e6 and record["wall_seconds"] > 0
    assert record["versions"]["python"] and record["hardware"]["cores"] >= 1
    assert json.loads((todo.folder / "run.json").read_text())["status"] == "ok"
    assert not list(todo.folder.glob("*partial*"))

    before = (todo.folder / "run.json").stat().st_mtime_ns
    assert runs.execute(todo, progress=False)["cached"] is True
    assert (todo.folder / "run.json").stat().st_mtime_ns == before
    (todo.folder / "note.txt").unlink()  # an output that is gone makes the run unfinished
    assert "cached" not in runs.execute(todo, progress=False)
    assert (todo.folder / "note.txt").exists()


def test_what_changes_the_key(write_notebook, planned, monkeypatch, tmp_path):
    path = write_notebook(START, FINISH)
    key = planned(path).key
    assert planned(path).key == key
    assert planned(path, ("seed", "1")).key != key
    content = json.loads(path.read_text())
    content["cells"][-1].update(outputs=[], execution_count=7)
    path.write_text(json.dumps(content))
    assert planned(path).key == key  # outputs are not source
    monkeypatch.setattr(planning, "package_fingerprint", lambda: "changed")
    assert planned(path).key != key
    monkeypatch.undo()
    write_notebook(START, FINISH + "\n# changed")
    assert planned(path).key != key


def test_a_file_that_is_read_changes_the_key(write_notebook, planned, tmp_path, monkeypatch):
    path = write_notebook("x = 1", parameters='scene: str = ""\nmesh_path: str = ""\nout_dir: str = ""')
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.txt").write_text("1")
    named, other = (planned(path, (name, "data.txt")).key for name in ("mesh_path", "scene"))
    (tmp_path / "data.txt").write_text("2")
    assert planned(path, ("mesh_path", "data.txt")).key != named
    assert planned(path, ("scene", "data.txt")).key == other  # a text like "auto" is no file
    assert planned(path, ("mesh_path", "x" * 5000)).data == {}


def test_a_folder_of_ones_own_is_refused_and_not_ignored(write_notebook, planned, tmp_path):
    with pytest.raises(InputError, match="--runs"):
        planned(write_notebook("x = 1"), ("out_dir", str(tmp_path)))


def test_a_runtime_error_of_our_own_is_not_blamed_on_the_kernel(write_notebook, planned, monkeypatch):
    import papermill

    for text, blamed in (("Kernel died before replying to kernel_info", True), ("a defect", False)):
        def fail(*_, text=text, **__):
            raise RuntimeError(text)

        monkeypatch.setattr(papermill, "execute_notebook", fail)
        todo = planned(write_notebook("x = 1"))
        if blamed:
            assert runs.execute(todo, progress=False)["reason"].startswith("the kernel could not be started: Kernel")
        else:
            with pytest.raises(RuntimeError, match="a defect"):
                runs.execute(todo, progress=False)
            assert read_record(todo.folder)["reason"].startswith("the runner itself failed")


def test_a_failing_cell(write_notebook, planned):
    todo = planned(write_notebook(START, "1 / 0", FINISH))
    record = runs.execute(todo, progress=False)
    assert record["status"] == "failed" and "ZeroDivisionError" in record["reason"]
    assert record["reason"].startswith("cell 3 ")  # after the parameters and START; what papermill adds is not counted
    assert (todo.folder / "90_sample.partial.ipynb").exists() and not todo.executed.exists()
    assert read_record(todo.folder)["status"] == "failed"
    assert "cached" not in runs.execute(todo, progress=False)  # failed is not finished


def test_a_check_that_fails_fails_the_run(write_notebook, planned):
    record = runs.execute(planned(write_notebook(START, "runs.check('psnr', 20, 30, rtol=0.01)", "run.finish()")),
                          progress=False)
    assert record["status"] == "failed" and "measured 20, expected 30 within 1 %" in record["reason"]


def test_a_kernel_that_dies(write_notebook, planned):
    todo = planned(write_notebook(START, "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", FINISH))
    record = runs.execute(todo, progress=False)
    assert record["status"] == "failed" and "kernel died" in record["reason"]
    assert not todo.executed.exists()


def test_a_cell_that_takes_too_long(write_notebook, planned):
    record = runs.execute(planned(write_notebook(START, "import time\ntime.sleep(60)")), timeout=2, progress=False)
    assert record["status"] == "failed" and "longer than 2 s" in record["reason"]
    assert record["wall_seconds"] < 50


def test_a_declared_output_that_vanished(write_notebook, planned):
    record = runs.execute(planned(write_notebook(START, FINISH, "run.path('note.txt').unlink()")), progress=False)
    assert record["status"] == "failed" and "note.txt" in record["reason"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_runner_that_is_killed(write_notebook, planned, tmp_path, number):
    path = write_notebook(START, "import os, time\nif os.environ.get('DAWDLE'): time.sleep(100)", FINISH)
    todo = planned(path)
    runner = subprocess.Popen([sys.executable, "-m", "rsnb", "run", path, "--runs", tmp_path / "runs"],
                              env={**os.environ, "DAWDLE": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: (read_record(todo.folder) or {}).get("status") == "running"
                 and psutil.Process(runner.pid).children())
        time.sleep(1.5)
        kernels = psutil.Process(runner.pid).children(recursive=True)
        with pytest.raises(Busy):  # a living runner keeps others out
            runs.execute(todo, progress=False)
        busy = rsnb("run", path, "--runs", tmp_path / "runs")
        assert busy.returncode == 75 and "another process" in busy.stderr
    finally:
        runner.send_signal(number)
        code = runner.wait(30)
    assert code != 0
    assert read_record(todo.folder)["status"] == "killed"
    assert runs.execute(todo, progress=False)["status"] == "ok"
    assert not [k for k in kernels if k.is_running() and k.status() != psutil.STATUS_ZOMBIE]


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def test_a_stale_lock_file_does_not_hold_anyone_up(write_notebook, planned):
    todo = planned(write_notebook("x = 1"))
    todo.folder.mkdir(parents=True)
    (todo.folder / "run.json").write_text('{"status": "running", "outputs": []}')
    with run_lock(todo.folder):
        assert read_record(todo.folder)["status"] == "running"
    assert read_record(todo.folder)["status"] == "killed"


def test_plain_papermill_knows_whether_expected_values_apply(write_notebook, tmp_path):
    papermill = pytest.importorskip("papermill")
    path = write_notebook(START, FINISH)
    for width, status in ((4, "8 within 1 %"), (5, "not applied: other parameters than the defaults")):
        papermill.execute_notebook(path, tmp_path / "out.ipynb", progress_bar=False,
                                   parameters={"width": width, "out_dir": str(tmp_path / "out")})
        report = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert report["checks"] == {"twice_width": status} and report["metrics"] == {"twice_width": 2.0 * width}


def test_the_command_line_refuses_before_anything_is_written(write_notebook, tmp_path):
    path = write_notebook(START, FINISH)
    for words, message in ((["-p", "widht=3"], "Did you mean 'width'?"), (["-p", "seed=abc"], "must be of type int"),
                           (["-p", "seed"], "not of the form name=value"),
                           (["--profile", "huge"], "no profile 'huge'")):
        refused = rsnb("run", path, "--runs", tmp_path / "runs", *words)
        assert refused.returncode == 2 and message in refused.stderr and "Traceback" not in refused.stderr
    assert rsnb("run", tmp_path / "none.ipynb").returncode == 2
    assert rsnb("run").returncode == 2
    assert not (tmp_path / "runs").exists()


def test_the_command_line_from_dry_to_gallery(write_notebook, tmp_path):
    path = write_notebook(START, FINISH)
    folder = tmp_path / "runs"
    dry = rsnb("run", path, "--runs", folder, "--dry", "-p", "rows=7,8")
    assert dry.returncode == 0 and "[7, 8]" in dry.stdout and "would run" in dry.stdout and not folder.exists()
    assert rsnb("run", path, "--runs", folder).returncode == 0
    again = rsnb("run", path, "--runs", folder)
    assert again.returncode == 0 and "done before" in again.stdout and str(folder / "gallery") in again.stdout
    failing = write_notebook("1 / 0", name="91_failing")
    failed = rsnb("run", failing, "--runs", folder)
    assert failed.returncode == 1 and "ZeroDivisionError" in failed.stderr
    table = rsnb("table", "--runs", folder, "--format", "json", "--where", "status=ok")
    assert [row["twice_width"] for row in json.loads(table.stdout)] == [8.0]


def test_outputs_are_stored_in_the_notebook_for_committing(write_notebook, tmp_path):
    bar = "import sys\nfrom tqdm.auto import tqdm\nfor _ in tqdm(range(3)): pass\n" \
          "for _ in __import__('tqdm').tqdm(range(3)): pass\nprint('mind the gap', file=sys.stderr)"
    path = write_notebook(START, bar, FINISH, "seed + 41")
    assert rsnb("run", path, "--runs", tmp_path / "runs", "--store", "-p", "seed=1").returncode == 2
    assert not (tmp_path / "runs").exists()
    assert rsnb("run", path, "--runs", tmp_path / "runs", "--store").returncode == 0
    content = json.loads(path.read_text())
    cells = [cell for cell in content["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [1, 2, 3, 4, 5]
    assert cells[3]["outputs"][0]["text"] == ["twice_width ok (8 within 1 %)\n"]
    assert [o["text"] for o in cells[2]["outputs"]] == [["mind the gap\n"]]  # the bars are gone, the warning is not
    assert cells[4]["outputs"][0]["execution_count"] == 5
    assert "papermill" not in path.read_text() and str(tmp_path) not in path.read_text()
    again = rsnb("run", path, "--runs", tmp_path / "runs")
    assert "done before" in again.stdout  # stored outputs do not make another run
