"""Data sets one or two folders below the one that is named."""

from __future__ import annotations

from rsnb.data.nested_root import nested_root


def has_mark(folder):
    return (folder / "mark").is_dir()


def test_the_folder_itself_comes_first(tmp_path):
    (tmp_path / "mark").mkdir()
    (tmp_path / "a" / "mark").mkdir(parents=True)
    assert nested_root(tmp_path, has_mark) == tmp_path


def test_the_only_one_up_to_two_levels_below(tmp_path):
    (tmp_path / "a" / "b" / "mark").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "b" / "mark").mkdir(parents=True)
    (tmp_path / ".trash" / "mark").mkdir(parents=True)
    (tmp_path / "readme.txt").write_text("")
    assert nested_root(tmp_path, has_mark) == tmp_path / "a" / "b"
    (tmp_path / "c" / "b" / "mark").mkdir(parents=True)
    assert nested_root(tmp_path, has_mark) == tmp_path  # which of the two is for the user to say


def test_none_or_too_deep(tmp_path):
    (tmp_path / "a" / "b" / "c" / "mark").mkdir(parents=True)
    assert nested_root(tmp_path, has_mark) == tmp_path
