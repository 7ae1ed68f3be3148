"""Models go to and come from bytes and open files as they do by path: a gateway keeps them in a store of its own."""

import io
import os

import pytest
from model_cases import example_model

import cem
from cem.errors import DeprecatedUseWarning, ModelFileError, OptionError
from cem.model.file import encode


@pytest.fixture(scope="module")
def model():
    return example_model()


@pytest.fixture(scope="module")
def content(model):
    return encode(model)


def test_model_saved_to_an_open_file_is_the_file_that_a_path_gets(model, content, tmp_path):
    model.save(tmp_path / "by path.cem")
    file = io.BytesIO()
    model.save(file)
    assert not file.closed
    assert file.getvalue() == content == (tmp_path / "by path.cem").read_bytes()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_model_loads_from_its_bytes(content, kind):
    assert encode(cem.load(kind(content))) == content


@pytest.mark.parametrize("buffering", [-1, 0])
def test_model_loads_from_the_position_of_an_open_file(content, tmp_path, buffering):
    (tmp_path / "store").write_bytes(b"before" + content)
    with open(tmp_path / "store", "rb", buffering=buffering) as file:
        file.seek(6)
        assert encode(cem.load(file)) == content
        assert not file.closed


def test_model_loads_from_a_pipe_that_gives_few_bytes_at_once(content):
    class Pipe:
        def __init__(self):
            self.file = io.BytesIO(content)

        def read(self, n=-1):
            return self.file.read(min(n, 3) if n >= 0 else n)

    assert encode(cem.load(Pipe())) == content


def test_file_of_another_kind_is_not_read_to_its_end():
    class Endless:
        def read(self, n=-1):
            assert n >= 0, "the whole file was read"
            return b"a" * n

    with pytest.raises(ModelFileError, match="not a cem model file"):
        cem.load(Endless())


def test_cut_or_altered_bytes_are_refused_as_such(content):
    for wrong in (content[:-1], content[:100], content[:1], b"", content[:-1] + b"x", b"no model"):
        with pytest.raises(ModelFileError, match="the bytes of the model: "):
            cem.load(wrong)


def test_text_file_is_refused_with_how_to_open_it(model, tmp_path):
    (tmp_path / "a.txt").write_text("text")
    with open(tmp_path / "a.txt") as file, pytest.raises(ModelFileError, match=r"a\.txt.*binary mode, 'rb'"):
        cem.load(file)
    with pytest.raises(ModelFileError, match="binary mode, 'wb'"):
        model.save(io.StringIO())


def test_closed_file_is_refused(model):
    file = io.BytesIO()
    file.close()
    for call in (lambda: cem.load(file), lambda: model.save(file)):
        with pytest.raises(ModelFileError, match="closed"):
            call()


def test_file_that_takes_few_bytes_at_once_gets_all(model, content):
    class Slow(io.RawIOBase):
        taken = b""

        def write(self, data):
            self.taken += bytes(data[:1000])
            return min(len(data), 1000)

    file = Slow()
    model.save(file)
    assert file.taken == content


def test_full_file_is_an_error_and_not_a_short_model(model):
    class Full(io.RawIOBase):
        def write(self, data):
            return None

    with pytest.raises(ModelFileError, match="took no more bytes"):
        model.save(Full())


def test_path_in_bytes_still_loads_and_says_what_to_write_instead(model, tmp_path):
    path = tmp_path / "fleet.cem"
    model.save(path)
    with pytest.warns(DeprecatedUseWarning, match=r"fleet\.cem"):
        cem.load(os.fsencode(path))


def test_what_is_neither_path_nor_file_is_refused(model):
    for call in (cem.load, model.save):
        with pytest.raises(OptionError, match="opened in binary mode"):
            call(3)


@pytest.mark.parametrize("path", [b"missing.cem", b"/no/such/folder/pumps.cem"])
def test_path_as_bytes_that_leads_nowhere_is_named(path):
    """ "Not a cem model file" would send the user to a file that is sound, or is not there."""
    with pytest.raises(ModelFileError, match=r"missing\.cem|pumps\.cem") as found:
        cem.load(path)
    assert "give a path as text" in str(found.value)


def test_saving_to_a_path_as_bytes_is_deprecated(model, content, tmp_path):
    """The same bytes given to `load` will be no path any more."""
    with pytest.warns(DeprecatedUseWarning, match="give it as text") as warned:
        model.save(os.fsencode(tmp_path / "m.cem"))
    assert warned[0].filename == __file__
    assert (tmp_path / "m.cem").read_bytes() == content
