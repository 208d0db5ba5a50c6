"""Lists of ids as people save them."""

from __future__ import annotations

from pathlib import Path

import pytest

from preceptor.utils.errors import PreceptorError, PreceptorWarning
from preceptor.utils.text_files import read_ids, read_text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_ids_in_encodings_with_a_mark(encoding: str, tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_bytes("Nävus/1\r\n\r\n  b 2 \r\n".encode(encoding))
    assert read_ids(file) == ("Nävus/1", "b 2")


def test_another_encoding_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_bytes("a\nNävus\n".encode("latin-1"))
    with pytest.raises(PreceptorError, match=r"line 2 is not UTF-8 \(byte 0xe4\)"):
        read_ids(file)


def test_an_id_may_begin_with_a_hash_and_a_comment_is_named(tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("#12\n# blurred\n13\n#\n")
    with pytest.warns(PreceptorWarning, match="2 lines are comments and not an id"):
        assert read_ids(file) == ("#12", "13")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PreceptorError, match="no such file"):
        read_text(tmp_path / "x", "a recipe")
