"""PyTorch's files: each form and dtype it saves; and hostile ones, which do nothing."""

import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from backbones.torch_writer import Code, Filled, write_legacy, write_zip

from tfembed.backbones.state_dict import find_state_dict
from tfembed.backbones.torch_file import Placeholder, StoredTensor, read_torch_file

RECORDED = Path(__file__).resolve().parents[1] / "peers" / "torchvision"
WRITERS = {"zip": write_zip, "legacy": write_legacy}


def recorded():
    with np.load(RECORDED / "tensors.npz") as file:
        return dict(file)


@pytest.mark.parametrize("ending", ["pth", "legacy.pth", "safetensors"])
def test_reads_what_pytorch_saved(ending):
    if ending == "safetensors":
        pytest.importorskip("safetensors")
    path = RECORDED / f"tensors.{ending}"
    expected = recorded()
    assert len(expected) == 15
    found = find_state_dict(read_torch_file(path), path)
    assert sorted(found) == sorted(expected)
    for name, tensor in found.items():
        assert tensor.shape == expected[name].shape
        np.testing.assert_array_equal(tensor.numpy(), expected[name], err_msg=name)


@pytest.mark.parametrize("form", WRITERS)
def test_everything_beside_the_tensors_is_read_too(form, tmp_path):
    path = tmp_path / "some.pth"
    rng = np.random.default_rng(0)
    tensor = rng.normal(size=(2, 3)).astype(np.float32)
    namespace = Code(b"cargparse\nNamespace\n)\x81}" + text("lr") + b"Nsb")
    value = {"a": tensor, "n": 3, "args": namespace, "b": Filled(2, (3,))}
    WRITERS[form](path, value)
    found = read_torch_file(path)
    np.testing.assert_array_equal(found["a"].numpy(), tensor)
    np.testing.assert_array_equal(found["b"].numpy(), [2, 2, 2])
    assert found["n"] == 3
    assert isinstance(found["args"], Placeholder)
    assert found["args"].qualified_name == "argparse.Namespace"


def text(words):
    return b"X" + len(words).to_bytes(4, "little") + words.encode()


def attacks(marker):
    """Programs that would write a file, or import a module, where they were run."""
    command = text(f"touch {marker}")
    evaluated = text(f"open({str(marker)!r}, 'w')")
    yield "reduce", b"cos\nsystem\n(" + command + b"tR"
    yield "posix", b"cposix\nsystem\n(" + command + b"tR"
    yield "eval", b"c__builtin__\neval\n(" + evaluated + b"tR"
    yield "inst", b"(" + command + b"ios\nsystem\n"
    yield "obj", b"(cos\nsystem\n" + command + b"o"
    yield "stack global", text("os") + text("system") + b"\x93(" + command + b"tR"
    yield "newobj", b"csubprocess\nPopen\n(" + command + b"\x88t\x81"
    yield "newobj_ex", b"csubprocess\nPopen\n(" + command + b"t}" + b"\x92"
    yield "import", b"ctfembed_hostile\nThing\n)R"
    yield "getattr", b"c__builtin__\ngetattr\n(cos\n__dict__\n" + text("x") + b"tR"
    state = b"}" + text("x") + command + b"sb"
    yield "setstate", b"cos\nsystem\n(" + command + b"tR" + state
    yield (
        "numpy",
        b"cnumpy.core.multiarray\n_reconstruct\n(cos\nsystem\nJ" + bytes(4) + (b"tR"),
    )
    yield "append", b"cos\nsystem\n)R(" + command + b"e"
    yield "items", b"cos\nsystem\n)R(" + command + command + b"u"


@pytest.mark.parametrize("form", WRITERS)
def test_no_program_runs(form, tmp_path, monkeypatch):
    (tmp_path / "tfembed_hostile.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    marker = tmp_path / "marker"
    tensor = np.ones((2, 2), np.float32)
    for name, code in attacks(marker):
        path = tmp_path / "hostile.pth"
        WRITERS[form](path, {"weight": tensor, "extra": Code(code)})
        found = find_state_dict(read_torch_file(path), path)
        np.testing.assert_array_equal(found["weight"].numpy(), tensor, err_msg=name)
        assert isinstance(found["extra"], Placeholder), name
        WRITERS[form](path, Code(code))
        with pytest.raises(ValueError, match="state_dict.*Received: a pickled"):
            find_state_dict(read_torch_file(path), path)
        assert not marker.exists(), name
    assert "tfembed_hostile" not in sys.modules


def test_the_attacks_are_attacks(tmp_path):
    import pickle

    marker = tmp_path / "marker"
    for name, code in attacks(marker):
        if name in ("reduce", "inst", "obj", "stack global", "eval", "setstate"):
            try:
                pickle.loads(b"\x80\x02" + code + b".")
            except Exception:
                assert name == "setstate"
            assert marker.exists(), name
            marker.unlink()


@pytest.mark.parametrize("form", WRITERS)
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (b"Nr\xff\xff\xff\x7f", "out of order"),  # memory for two thousand million
        (b"\x96" + (1 << 40).to_bytes(8, "little") + b"abc", "Reading it says"),
        (b"\x8d" + (1 << 40).to_bytes(8, "little") + b"abc", "Reading it says"),
        (b"\x82\x01", "copyreg"),
        (b"\x83\x01\x00", "copyreg"),
        (b"\x84\x01\x00\x00\x00", "copyreg"),
        (b"h\x05", "Reading it says"),
        (b"t", "Reading it says"),
    ],
)
def test_what_would_take_memory_or_state_is_refused(form, code, message, tmp_path):
    path = tmp_path / "hostile.pth"
    WRITERS[form](path, {"extra": Code(code)})
    with pytest.raises(ValueError, match=message):
        read_torch_file(path)


def test_a_pickle_cannot_change_the_reader(tmp_path):
    """BUILD gives attributes to whatever it is given: to nothing of ours."""
    path = tmp_path / "hostile.pth"
    state = b"}" + text("_name") + text("other") + b"s"
    tensor = np.ones((2, 2), np.float32)
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n" + state + b"b0"
    mapping = b"ccollections\nOrderedDict\n)R" + state + b"b0"
    mapping += b"ccollections\nOrderedDict\n" + state + b"b0"  # the class itself
    write_zip(path, {"extra": Code(rebuild + mapping + b"N"), "weight": tensor})
    found = read_torch_file(path)
    np.testing.assert_array_equal(found["weight"].numpy(), tensor)
    assert found["extra"] is None


def rebuilt(offset=0, shape=(2, 2), strides=(2, 1), count=4, kind="Float", key="0"):
    """A tensor as opcodes, of numbers that need not be there."""
    from backbones.torch_writer import _integer, _integers

    storage = b"(" + text("storage") + f"ctorch\n{kind}Storage\n".encode() + text(key)
    storage += text("cpu") + _integer(count) + b"tQ"
    head = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + _integer(offset)
    return Code(head + _integers(shape) + _integers(strides) + b"\x89NtR")


@pytest.mark.parametrize(
    "options",
    [
        {"offset": 1},
        {"offset": -1},
        {"shape": (2, 3)},
        {"shape": (-2, 2)},
        {"strides": (-2, 1)},
        {"strides": (2,)},
        {"shape": (1 << 62, 1 << 62)},
        {"kind": "Complex"},
        {"count": -4},
    ],
)
def test_a_tensor_beyond_its_numbers_is_none(options, tmp_path):
    path = tmp_path / "hostile.pth"
    write_zip(path, {"good": np.ones((2, 2), np.float32), "bad": rebuilt(**options)})
    found = read_torch_file(path)
    assert isinstance(found["good"], StoredTensor)
    assert isinstance(found["bad"], Placeholder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"key": "7"}, "archive/data/7 is missing"),
        ({"count": 5}, "has 16 bytes in it, not 20"),
        ({"key": "../../../../etc/passwd"}, "is missing"),
    ],
)
def test_numbers_that_are_not_there_are_missed_when_they_are_wanted(
    options, message, tmp_path
):
    path = tmp_path / "hostile.pth"
    write_zip(path, {"good": np.ones((2, 2), np.float32), "bad": rebuilt(**options)})
    found = read_torch_file(path)
    assert found["bad"].shape == (2, 2)
    with pytest.raises(ValueError, match=message):
        found["bad"].numpy()


def test_compressed_zips_are_not_pytorchs(tmp_path):
    path = tmp_path / "bomb.pth"
    write_zip(path, {"a": np.zeros((64, 64), np.float32)}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed"):
        read_torch_file(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x80", b"PK\x03\x04", b"hello\n" * 9, b"\x80\x02K\x01."]
)
def test_other_files_are_named(content, tmp_path):
    path = tmp_path / "other.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="other.pth.*must be a file that torch.save"):
        read_torch_file(path)


@pytest.mark.parametrize("name", ["tensors.pth", "tensors.legacy.pth"])
def test_a_damaged_file_gives_a_sentence_or_what_is_left(name, tmp_path):
    content = (RECORDED / name).read_bytes()
    rng = np.random.default_rng(3)
    path = tmp_path / name
    refused = 0
    for _ in range(150):
        damaged = bytearray(content)
        if rng.random() < 0.3:
            damaged = damaged[: rng.integers(len(content))]
        else:
            for place in rng.integers(0, len(content), 3):
                damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            found = find_state_dict(read_torch_file(path), path)
            for value in found.values():
                if isinstance(value, StoredTensor) and np.prod(value.shape) < 1e6:
                    value.numpy()
        except ValueError:
            refused += 1
    assert refused > 20
