"""Model files: what was saved is what loads, and nothing else does."""

import hashlib
import json
import os
import struct

import numpy as np
import pytest
from model_cases import example_model, ragged_panel
from places import DATA

import cem.model.file as model_file
from cem.basis.families import Basis, Custom, Polynomial, basis_from_dict
from cem.errors import BasisError, ModelFileError, OptionError
from cem.mixture.parameters import Parameters
from cem.model import loading
from cem.model.file import encode
from cem.model.loading import decode, load
from cem.model.model import FailureModeModel
from cem.statistics.coordinates import Coordinates

GOLDEN = DATA / "golden-1.cem"


def golden_model():
    """The model of the golden file, from numbers written down here."""
    return FailureModeModel(
        parameters=Parameters(
            weights=[0.75, 0.25],
            means=[[0.5, -0.25, 1.0], [-1.5, 0.75, -2.0]],
            factors=[[0.5, 0.0, 0.125, 0.25, 1.0], [0.25, 0.0, -0.125, 0.5, 0.5]],
            noise_variances=[[0.0625, 0.25], [0.125, 0.5]],
            sizes=(2, 1),
        ),
        coordinates=Coordinates([9062.0, 3.0, -7.0], [0.5, 4.0], [1.0, 0.25, 0.0, 0.5, 2.0], (2, 1)),
        bases=(Polynomial(1).bind([0.0, 8.0]), Polynomial(0).bind([0.0, 8.0])),
        channels=("s9", "réponse"),
        response="réponse",
        mode_labels=("fan", 2),
        time_unit="cycle",
        channel_units={"s9": "rpm"},
        training={"n_units": 40, "log_likelihood": -321.5, "starts": [{"kind": "random", "fate": "best"}]},
    )


def assert_same(found, expected):
    for name in ("weights", "means", "factors", "noise_variances"):
        np.testing.assert_array_equal(
            getattr(found.internal_parameters, name), getattr(expected.internal_parameters, name)
        )
    for name in ("centres", "scales", "transforms"):
        np.testing.assert_array_equal(getattr(found.coordinates, name), getattr(expected.coordinates, name))
    for name in ("bases", "channels", "response", "mode_labels", "time_unit", "channel_units", "time_axis"):
        assert getattr(found, name) == getattr(expected, name), name


def test_golden_file_of_format_1_loads_to_the_numbers_that_were_saved():
    found = load(GOLDEN)
    assert_same(found, golden_model())
    assert found.training == golden_model().training
    assert found.parameters("fan", "s9").mean == pytest.approx(golden_model().means_[0, 0], rel=1e-15)


@pytest.mark.parametrize("options", [{}, {"n_modes": 1}, {"time_axis": "to_failure"}, {"response": None}])
def test_saved_model_loads_and_scores_to_the_same_bits(tmp_path, options):
    model = example_model(**options)
    model.save(tmp_path / "m.cem")
    found = load(tmp_path / "m.cem")
    assert_same(found, model)
    panel = ragged_panel(model)
    np.testing.assert_array_equal(found.predict_proba(panel), model.predict_proba(panel))
    assert os.listdir(tmp_path) == ["m.cem"]


def test_labels_and_records_of_every_kind_come_back(tmp_path):
    labels = (float("inf"), ("fan", 2.5), True)
    training = {"entropy": float("nan"), "floors": [{"mode": np.int64(1)}], "log_likelihood": np.float64(-2.5)}
    example_model(mode_labels=labels, training=training).save(tmp_path / "m.cem")
    found = load(tmp_path / "m.cem")
    assert found.mode_labels == labels and found.mode_labels[2] is True
    assert np.isnan(found.training["entropy"]) and found.training["floors"] == [{"mode": 1}]


def test_label_that_json_cannot_keep_is_named(tmp_path):
    with pytest.raises(ModelFileError, match="frozenset"):
        example_model(mode_labels=("a", "b", frozenset({1}))).save(tmp_path / "m.cem")
    assert os.listdir(tmp_path) == []


def test_custom_basis_without_a_name_is_refused_and_the_old_file_kept(tmp_path):
    path = tmp_path / "m.cem"
    path.write_bytes(b"old")
    model = example_model()
    bases = (Custom(lambda t: np.stack([np.ones_like(t), t, t**2], axis=1), 3).bind([0.0, 1.0]), *model.bases[1:])
    unnamed = example_model(bases=bases)
    with pytest.raises(BasisError):
        unnamed.save(path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["m.cem"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    path = tmp_path / "m.cem"
    path.write_bytes(b"old")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model_file.os, step, fail)
    with pytest.raises(ModelFileError, match="No space left"):
        example_model().save(path)
    monkeypatch.undo()
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["m.cem"]


def test_interrupted_save_leaves_no_half_file(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(model_file.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        example_model().save(tmp_path / "m.cem")
    assert os.listdir(tmp_path) == []


def test_places_that_cannot_be_written_or_read_are_typed_errors(tmp_path):
    with pytest.raises(ModelFileError, match="cannot be written"):
        example_model().save(tmp_path / "absent" / "m.cem")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ModelFileError, match="cannot be written"):
        example_model().save(tmp_path / "file" / "m.cem")
    with pytest.raises(ModelFileError, match="cannot be read"):
        load(tmp_path / "absent.cem")
    with pytest.raises(ModelFileError, match="cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize("path", [3, None, ["a.cem"]])
def test_what_is_no_path_is_an_option_error(path):
    with pytest.raises(OptionError, match="path is a"):
        load(path)
    with pytest.raises(OptionError, match="path is a"):
        golden_model().save(path)


def test_truncation_at_every_length_is_refused():
    content = GOLDEN.read_bytes()
    for length in range(len(content)):
        with pytest.raises(ModelFileError):
            decode(content[:length])


@pytest.mark.slow
def test_every_single_bit_flip_is_refused():
    content = bytearray(GOLDEN.read_bytes())
    for position in range(len(content)):
        for bit in range(8):
            content[position] ^= 1 << bit
            with pytest.raises(ModelFileError):
                decode(bytes(content))
            content[position] ^= 1 << bit
    assert bytes(content) == GOLDEN.read_bytes()


def test_another_kind_of_file_is_called_one():
    with pytest.raises(ModelFileError, match="not a cem model file"):
        decode(b"PK\x03\x04" + bytes(100))
    with pytest.raises(ModelFileError, match="truncated: 0 bytes"):
        decode(b"")


def test_newer_format_is_refused_by_naming_both_versions():
    content = bytearray(GOLDEN.read_bytes())
    content[8:12] = struct.pack("<I", 7)
    with pytest.raises(ModelFileError, match=r"version is 7.*up to 5"):
        decode(bytes(content))


def rebuilt(change):
    """The golden file with a changed header or data and a checksum that agrees: what an attacker would write."""
    content = GOLDEN.read_bytes()
    (length,) = struct.unpack_from("<Q", content, 12)
    header, data = json.loads(content[20 : 20 + length]), content[20 + length : -32]
    changed = change(header, data)
    if isinstance(changed, bytes):
        data = changed
    text = changed if isinstance(changed, str) else json.dumps(header)
    body = content[:12] + struct.pack("<Q", len(text)) + text.encode() + data
    return body + hashlib.sha256(body).digest()


def without(container, key):
    del container[key]


def with_nan_weight(header, data):
    return struct.pack("<d", float("nan")) + data[8:]


def with_other_mean(header, data):
    return data[:16] + struct.pack("<d", 0.501) + data[24:]


def with_check_offsets(*offsets):
    """The check panel of the golden file with other offsets: the last two of its thirteen."""

    def change(header, data):
        (entry,) = [entry for entry in header["arrays"] if entry["name"] == "check_offsets"]
        end = entry["offset"] + 8 * entry["shape"][0]
        packed = struct.pack(f"<{len(offsets)}q", *offsets)
        return data[: end - len(packed)] + packed + data[end:]

    return change


def with_number(array, position, value):
    """The golden file with one number of an array changed."""

    def change(header, data):
        (entry,) = [entry for entry in header["arrays"] if entry["name"] == array]
        at = entry["offset"] + 8 * position
        return data[:at] + struct.pack("<d", value) + data[at + 8 :]

    return change


HOSTILE = {
    "unchanged": (lambda h, d: None, None),
    "huge shape": (lambda h, d: h["arrays"][-1].update(shape=[2**40, 2**40]), "shape|ends after"),
    "many axes": (lambda h, d: h["arrays"][0].update(shape=[1] * 99), "shape"),
    "negative shape": (lambda h, d: h["arrays"][0].update(shape=[-2]), "shape"),
    "boolean shape": (lambda h, d: h["arrays"][0].update(shape=[True]), "shape"),
    "overlap": (lambda h, d: h["arrays"][1].update(offset=0), "does not begin"),
    "hole": (lambda h, d: h["arrays"][1].update(offset=24), "does not begin"),
    "bytes of nothing": (lambda h, d: d + bytes(8), "belong to no array"),
    "object dtype": (lambda h, d: h["arrays"][0].update(dtype="O8"), "dtype"),
    "same name": (lambda h, d: h["arrays"][1].update(name="weights"), "twice"),
    "array gone": (lambda h, d: h["arrays"].clear(), "belong to no array"),
    "array renamed": (lambda h, d: h["arrays"][0].update(name="wheights"), "weights"),
    "unknown key": (lambda h, d: h.update(extra=1), "keys"),
    "missing key": (lambda h, d: without(h["model"], "bases"), "keys"),
    "header is a list": (lambda h, d: "[1, 2]", "keys"),
    "duplicate key": (lambda h, d: json.dumps(h)[:-1] + ', "check": {}}', "twice"),
    "nan in header": (lambda h, d: json.dumps(h).replace("-321.5", "NaN"), "NaN"),
    "deep header": (lambda h, d: "[" * 100_000, "not sound"),
    "nan weight": (with_nan_weight, "not finite"),
    "altered mean": (with_other_mean, "check panel"),
    "check panel goes back": (with_check_offsets(200, 108), "do not divide"),
    "check panel too long": (with_check_offsets(2**40), "at most 9 a unit"),
    "check panel of text": (lambda h, d: h["arrays"][-2].update(dtype="i8"), "parts do not make|not be scored"),
    "check beyond the floats": (lambda h, d: h["check"].update(log_likelihood=10**400), "finite number"),
    "altered check": (lambda h, d: h["check"].update(log_likelihood=-1.0), "check panel"),
    "no such basis": (lambda h, d: h["model"]["bases"][0].update(type="Wavelet"), "Wavelet"),
    "larger basis": (lambda h, d: h["model"]["bases"][0]["options"].update(degree=10**9), "parts do not make"),
    "label is a list": (lambda h, d: h["model"].update(mode_labels=[[1], 2]), "label"),
    "labels too few": (lambda h, d: h["model"].update(mode_labels=["fan"]), "mode_labels"),
    "factor not triangular": (with_number("factors", 1, 0.25), "factors of channel 0 .* not lower triangular"),
    "factor of no variance": (with_number("factors", 4, 0.0), "factors of channel 1 .* positive diagonal"),
    "factor turned round": (with_number("factors", 0, -0.5), "factors of channel 0 .* positive diagonal"),
    "transform not triangular": (with_number("transforms", 2, 0.1), "transforms of channel 0 .* not upper triangular"),
    "transform turned round": (with_number("transforms", 3, -0.5), "transforms of channel 0 .* positive diagonal"),
    "scale of 0": (with_number("scales", 0, 0.0), "scales go from 0"),
    "scale too large": (with_number("scales", 1, 1e200), "scales go from 0.5 to 1e\\+200"),
    "noise below 0": (with_number("noise_variances", 0, -1.0), "noise_variances go from -1"),
    "weights above 1": (with_number("weights", 0, 1.75), "shares"),
    "weight below 0": (with_number("weights", 0, -0.25), "shares"),
    "dtype is a list": (lambda h, d: h["arrays"][0].update(dtype=["f8"]), "dtype"),
    "unknown array": (
        lambda h, d: h["arrays"].append({"name": "x", "dtype": "f8", "shape": [0], "offset": len(d)}),
        "unk",
    ),
    "check is a text": (lambda h, d: h["check"].update(log_likelihood="1"), "finite number"),
    "check is nothing": (lambda h, d: h.update(check=None), "finite number"),
    "writer is a list": (lambda h, d: h.update(writer=[]), "writer"),
    "nested record": (lambda h, d: h["model"].update(training={"x": json.loads("[" * 40 + "]" * 40)}), "nested"),
    "nested label": (lambda h, d: h["model"].update(mode_labels=[{"tuple": [["a"]]}, 2]), "label"),
    "channels are a text": (lambda h, d: h["model"].update(channels="ab"), "channels is a text"),
    "channel is a number": (lambda h, d: h["model"].update(channels=["s9", 3], response=None), "channel is named by"),
    "response is a number": (lambda h, d: h["model"].update(response=1), "response is a number"),
    "response is no channel": (lambda h, d: h["model"].update(response="s99"), "the response 's99' is not a channel"),
    "many numbers": (
        lambda h, d: h["model"]["bases"][0].update(learned=[7] * 1001),
        "has 1,001 numbers; at most 1,000",
    ),
    "many numbers and a text": (
        lambda h, d: h["model"]["bases"][0].update(
            type="Exponential", options={"time_constants": [7] * 1001 + ["x"], "reference": None}
        ),
        "has 1,002 numbers",
    ),
    "unit is a list": (lambda h, d: h["model"].update(channel_units={"s9": ["rpm"]}), "unit of measurement"),
    "record is a list": (lambda h, d: h["model"].update(training=[]), "training is a list"),
    "count below 0": (lambda h, d: h["model"]["training"].update(n_units=-40), "n_units.* is -40"),
    "starts of numbers": (lambda h, d: h["model"]["training"].update(starts=[1]), "starts"),
    "basis is a text": (lambda h, d: h["model"]["bases"].__setitem__(0, "Polynomial"), "saved basis"),
    "type is a list": (lambda h, d: h["model"]["bases"][0].update(type=["Polynomial"]), "no basis of type"),
    "unbound basis": (lambda h, d: h["model"]["bases"][0].update(domain=None), "no domain"),
    "function of the machine": (
        lambda h, d: h["model"]["bases"][0].update(type="Custom", options={"function": "os:system", "size": 2}),
        "cem imports nothing that a file names",
    ),
    "unknown axis": (lambda h, d: h["model"].update(time_axis="sideways"), "time_axis"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_file_made_up_with_a_right_checksum_is_refused_unless_it_is_sound(case):
    change, message = HOSTILE[case]
    content = rebuilt(change)
    if message is None:
        assert_same(decode(content), golden_model())
    else:
        with pytest.raises(ModelFileError, match=message):
            decode(content)


@pytest.mark.parametrize("name", ["time_axis", "response"])
def test_a_message_does_not_quote_a_whole_file(name):
    """A refused file of 16 MB would fill the terminal, or a log, with 16 MB."""
    with pytest.raises(ModelFileError) as refused:
        decode(rebuilt(lambda header, data: header["model"].update({name: "a" * 100_000})))
    assert len(str(refused.value)) < 2000


def test_bases_whose_hashes_collide_are_not_compared_with_each_other(monkeypatch):
    """A file of 1.5 MB whose bases share one hash took 9 s to load."""
    ends = [2.0 ** (61 * j) for j in range(-8, 8)]  # all of one hash
    bases = [
        {"type": "Constant", "options": {}, "domain": [-low, high], "learned": []} for low in ends for high in ends
    ]
    assert len({hash(basis_from_dict(part)) for part in bases}) == 1
    compared = []
    monkeypatch.setattr(Basis, "__eq__", lambda self, other: compared.append(1) or self is other)
    found = loading._bases(bases * 2, 2 * len(bases), None)
    assert not compared
    assert all(first is second for first, second in zip(found, found[len(bases) :], strict=False))
    assert len(set(map(id, found))) == len(bases)


@pytest.mark.parametrize("padding", range(8))
def test_arrays_are_aligned_in_files_of_writers_that_pad_otherwise(padding, monkeypatch):
    """Kernels would read numbers at addresses at which some processors fault."""
    read, found = loading._arrays, []

    def recorded(*arguments):
        found.append(read(*arguments))
        return found[-1]

    monkeypatch.setattr(loading, "_arrays", recorded)
    assert_same(decode(rebuilt(lambda h, d: json.dumps(h) + " " * padding)), golden_model())
    assert [name for name, array in found[0].items() if not array.flags.aligned] == []


def test_a_model_that_would_not_load_is_not_saved(tmp_path):
    """Found when the model is fitted, not a year later when it scores."""
    model = golden_model()
    factors = model.internal_parameters.factors.copy()
    factors[0, 1] = 0.5
    parameters = Parameters(
        model.internal_parameters.weights, model.internal_parameters.means, factors,
        model.internal_parameters.noise_variances, model.basis_sizes_,
    )  # fmt: skip
    unsound = FailureModeModel(**{**model._arguments(), "parameters": parameters})
    with pytest.raises(ModelFileError, match="not lower triangular"):
        unsound.save(tmp_path / "m.cem")
    assert os.listdir(tmp_path) == []


def test_a_loaded_record_is_the_models_own():
    """A reader who changes what `training` gave him does not change the model."""
    model = load(GOLDEN)
    model.training["starts"].clear()
    assert model.training == golden_model().training


def test_a_header_that_would_fill_the_memory_is_refused_before_it_is_parsed(monkeypatch):
    content = rebuilt(lambda h, d: "[" + "[]," * 2_000_000 + "0]")
    monkeypatch.setattr(loading.json, "loads", None)
    with pytest.raises(ModelFileError, match="MB of memory"):
        decode(content)


def test_a_model_of_many_modes_or_large_bases_has_a_check_panel_that_a_reader_has_time_for(monkeypatch):
    monkeypatch.setattr(loading.rules, "_FREE_WORK", 1000)
    monkeypatch.setattr(loading.rules, "_WORK_PER_BYTE", 0)
    content = encode(golden_model())
    (length,) = struct.unpack_from("<Q", content, 12)
    entries = {entry["name"]: entry["shape"] for entry in json.loads(content[20 : 20 + length])["arrays"]}
    assert 2 <= entries["check_offsets"][0] < 13
    assert_same(decode(content), golden_model())
    with pytest.raises(ModelFileError, match="too many for a file"):
        decode(GOLDEN.read_bytes())


def test_no_training_data_is_in_the_file_and_the_check_panel_is_drawn_alike_each_time():
    assert encode(example_model()) == encode(example_model())
