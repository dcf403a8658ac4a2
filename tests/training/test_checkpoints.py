"""A checkpoint that was damaged on the way, or that wants to run code, is told apart and never taken."""

from __future__ import annotations

import collections
import io
import os
import pickle
import shutil
import subprocess

import numpy as np
import pytest
import torch

from rsnb.errors import InputError
from rsnb.training import checkpoints
from rsnb.training.checkpoints import load_checkpoint, record_path, save_checkpoint


def state(value=1.0):
    return {"step": 3, "weights": collections.OrderedDict(a=torch.full((50, 40), value), b=torch.arange(5)),
            "terms": {"loss": [0.5, float("inf")]}, "big": 2**127 + 1, "none": None,
            "milestones": collections.Counter([5])}


def same(a, b):
    assert set(a) == set(b)
    assert torch.equal(a["weights"]["a"], b["weights"]["a"]) and torch.equal(a["weights"]["b"], b["weights"]["b"])
    assert all(a[key] == b[key] for key in a if key != "weights")


def record_as_it_is(path):
    """Write the sha256 anew, as somebody would who changed the file on purpose."""
    record_path(path).write_text(checkpoints._record(path.name, path.stat().st_size, checkpoints._sha256(path)))


def test_what_was_saved_comes_back(tmp_path):
    path = save_checkpoint(tmp_path / "new" / "run.ckpt", state())
    same(load_checkpoint(path), state())
    save_checkpoint(path, state(2.0))
    same(load_checkpoint(path), state(2.0))
    assert sorted(p.name for p in path.parent.iterdir()) == ["run.ckpt", "run.ckpt.sha256"]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="there is no sha256sum here")
def test_the_record_is_sha256sums_own(tmp_path):
    path = save_checkpoint(tmp_path / "run.ckpt", state())
    command = ["sha256sum", "-c", record_path(path).name]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    path.write_bytes(path.read_bytes() + b"x")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 1


@pytest.mark.parametrize("where", [0, 0.3, 0.5, 0.9, -1])
def test_a_single_flipped_bit_is_found(tmp_path, where):
    path = save_checkpoint(tmp_path / "run.ckpt", state())
    data = bytearray(path.read_bytes())
    data[int(where * len(data)) if where >= 0 else -1] ^= 4
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"run.ckpt: the checkpoint's bytes have changed: its sha256 begins with"):
        load_checkpoint(path)


@pytest.mark.parametrize("left", [0, 1, 4000, -1])
def test_a_file_cut_short_is_told_as_that(tmp_path, left):
    path = save_checkpoint(tmp_path / "run.ckpt", state())
    whole = path.read_bytes()
    path.write_bytes(whole[:left])
    with pytest.raises(InputError, match=rf"cut short: [\d,]+ of {len(whole):,} bytes"):
        load_checkpoint(path)


class Hostile:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("form", ["zip", "pickle"])
def test_a_hostile_file_runs_nothing_though_its_sha256_is_right(tmp_path, form):
    harm, path = tmp_path / "harm", tmp_path / "run.ckpt"
    data = io.BytesIO()
    hostile = {"weights": Hostile(f"touch {harm}")}
    torch.save(hostile, data) if form == "zip" else data.write(pickle.dumps(hostile, protocol=2))
    path.write_bytes(data.getvalue())
    record_as_it_is(path)
    with pytest.raises(InputError, match=r"loading it would run code \(\w+.system\), which is refused"):
        load_checkpoint(path)
    assert not harm.exists()
    torch.load(io.BytesIO(data.getvalue()), weights_only=False) if form == "zip" else pickle.loads(data.getvalue())
    assert harm.exists()  # the file was hostile indeed


@pytest.mark.parametrize("data", [b"", b"hello world\n", b'{"a": 1}', b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(2000),
                                  b"."])
def test_another_file_is_no_checkpoint(tmp_path, data):
    path = tmp_path / "run.ckpt"
    path.write_bytes(data)
    record_as_it_is(path)
    with pytest.raises(InputError, match="no checkpoint that torch can read"):
        load_checkpoint(path)


def test_each_thing_missing_has_its_own_message(tmp_path):
    with pytest.raises(InputError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "run.ckpt")
    path = save_checkpoint(tmp_path / "run.ckpt", state())
    digest = checkpoints._sha256(path)
    record_path(path).write_text("soon\n")
    with pytest.raises(InputError, match="sha256: this holds no sha256"):
        load_checkpoint(path)
    record_path(path).unlink()
    with pytest.raises(InputError, match="no sha256 beside it"):
        load_checkpoint(path)
    same(load_checkpoint(path, sha256=digest.upper()), state())  # somebody knows it from elsewhere
    with pytest.raises(InputError, match="not with 00000000"):
        load_checkpoint(path, sha256="0" * 64)
    torch.save([1], path)
    record_as_it_is(path)
    with pytest.raises(InputError, match="a list, not a dict"):
        load_checkpoint(path)


@pytest.mark.parametrize("dies_at", [1, 2, 3])
def test_a_kill_at_any_moment_leaves_a_checkpoint_that_passes(tmp_path, monkeypatch, dies_at):
    """Replacing takes three renames: the record of both, the file, the record of the new one."""
    path = save_checkpoint(tmp_path / "run.ckpt", state(1.0))
    replace, calls = os.replace, []

    def killed(*args):
        calls.append(args)
        if len(calls) == dies_at:
            raise KeyboardInterrupt
        replace(*args)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, state(2.0))
    monkeypatch.undo()
    same(load_checkpoint(path), state(1.0 if dies_at < 3 else 2.0))
    save_checkpoint(path, state(3.0))
    same(load_checkpoint(path), state(3.0))


@pytest.mark.parametrize(("value", "key"), [
    (np.float64(1), r"state\['x'\]\[1\] is a float64"), (np.zeros(2), "is a ndarray"),
    (torch.nn.Linear(1, 1), "is a Linear"), ({3, 4}, "is a set"), (len, "builtin_function"),
])
def test_what_could_not_be_loaded_is_not_saved(tmp_path, value, key):
    with pytest.raises(InputError, match=key):
        save_checkpoint(tmp_path / "run.ckpt", {"x": [1, value]})
    assert list(tmp_path.iterdir()) == []
