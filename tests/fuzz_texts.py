"""Broken tables, study.toml files and weights, made and never stored."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from bedrest.io.tables.typed_csv import read_table, read_text, write_table
from bedrest.schemas import CHANGE, LEVEL_NAMES, MEASURES, SCANS, SESSIONS, SUBJECTS, Table
from bedrest.settings import Study, load_study

Act = Callable[[], object]
Rng = np.random.Generator



def _row(schema: Table) -> list[str]:
    """One row that fits a schema."""
    fits = {"str": "A", "float": "1.5", "int": "2", "bool": "true"}
    return [c.values[0] if c.values else fits[c.dtype] for c in schema.columns]


GOOD = {
    "subjects": (SUBJECTS, [["subject", "group", "age", "sex"], ["A", "control", "31", "F"],
                            ["B", "exercise", "", "M"]]),
    "sessions": (SESSIONS, [["subject", "session", "study_day", "phase", "scan_time"],
                            ["A", "ses-1", "-3", "baseline", "08:10"], ["A", "ses-2", "60", "bed_rest", ""]]),
    "scans": (SCANS, [["subject", "session", "contrast", "path"], ["A", "ses-1", "water", "a1.nii"],
                      ["A", "ses-2", "water", "a2.nii"], ["B", "ses-1", "water", "b1.nii"]]),
    "levels": (LEVEL_NAMES, [["subject", "session", "found", "level"], ["A", "ses-1", "L4-L5", "L5-S1"]]),
    "measures": (MEASURES, [MEASURES.column_names, _row(MEASURES)]),
    "change": (CHANGE, [CHANGE.column_names, _row(CHANGE)]),
}
CELLS = (
    "", " ", "NA", "nan", "-", "=1+1", "=cmd|' /C calc'!A0", "+1", "-3", "@SUM(A1)", "\t=x", "'=1", "''", "1,5",
    "1;5", "1e400", "-1e400", "inf", "-inf", "NaN", "1_000", "0x10", "٣", "½", "1e-400", "9" * 400, "1e5", "true",
    "TRUE", "null", "\x00",
    "a\x00b", "\x1b[31m", "\u202e", "\ufeff", "é", "e\u0301", "😀", "\ud800", "a\nb", "a\rb", "\u2028",
    '"', '""', "../../x", "..", "/etc/passwd", "C:\\x", "a/b", "con", "x" * 300, "<script>alert(1)</script>",
    "${HOME}", "{subject}",
    "%s%n", "$(touch x)", "`id`", "ses-1", "ses-2", "A", "a", "ﬁ", "01", "1", "water", "control", "L4-L5", "exclude",
    "unnamed-1", "unnamed-99999999999999999999", "2026-01-01", "08:10", "0", "-0", "1.5", "2" + "0" * 30,
)


def table_bytes(name: str, rng: Rng) -> bytes:
    """One of the tables with something wrong, as bytes of a CSV."""
    rows = [list(r) for r in GOOD[name][1]]
    for _ in range(int(rng.integers(0, 3))):
        i = int(rng.integers(0 if rng.random() < 0.15 else 1, len(rows)))
        rows[i][int(rng.integers(len(rows[i])))] = str(rng.choice(CELLS))
    how = str(rng.choice(["ragged", "twice", "long", "many", "wide", "norows", "keys", "columns", *["none"] * 12]))
    if how == "ragged":
        rows[-1] = rows[-1][: int(rng.integers(0, 3))] + ["x"] * int(rng.integers(0, 9))
    elif how == "twice":
        rows[0][0] = rows[0][-1]
    elif how == "long":
        rows[-1][int(rng.integers(len(rows[-1])))] = str(rng.choice(["x", "1", "=", '"', "é"])) * 1_000_000
    elif how == "many":
        rows += [rows[-1]] * 3000
    elif how == "wide":
        rows = [r + ["c"] * 3000 for r in rows]
    elif how == "norows":
        rows = rows[: int(rng.integers(0, 2))]
    elif how == "keys":
        rows.append(rows[-1])
    elif how == "columns":
        odd = ["", "Subject", "path ", "=x", "level", "x\ny", "grp"]
        rows[0][int(rng.integers(len(rows[0])))] = str(rng.choice(odd))
    comma = str(rng.choice([*[","] * 9, ";", "\t", "|"]))
    quote = rng.random() < 0.8
    end = str(rng.choice(["\n", "\n", "\n", "\r\n", "\r", "\n\n"]))
    text = end.join(comma.join(_quoted(c) if quote else c for c in row) for row in rows)
    text += str(rng.choice(["", *[end] * 4, '"']))
    raw = text.encode("utf-8", "surrogatepass")
    code = int(rng.integers(20))
    if code == 0:
        raw = text.encode("utf-16", "surrogatepass")
    elif code == 1:
        raw = b"\xef\xbb\xbf" + raw
    elif code == 2:
        raw = text.encode("latin-1", "replace") + b"\xe9\xff"
    elif code == 3:
        at = int(rng.integers(0, len(raw) + 1))
        raw = raw[:at] + b"\x00" + raw[at:]
    elif code == 4:
        raw = raw[: int(rng.integers(0, len(raw) + 1))]
    elif code == 5:
        raw = rng.bytes(int(rng.integers(0, 2000)))
    return raw


def _quoted(cell: str) -> str:
    return f'"{cell.replace(chr(34), chr(34) * 2)}"' if set(cell) & set(',;\n\r\t"|') else cell


def table(folder: Path, out: Path, rng: Rng) -> Act:
    """A table by its schema; what can be read must survive our own writing, and hold no formula then."""
    name = str(rng.choice(list(GOOD)))
    schema = GOOD[name][0]
    path = folder / str(rng.choice([f"{name}.csv", f"{name}.csv", "t able.csv", f"{name}.tsv", f"{name}.TSV"]))
    path.write_bytes(table_bytes(name, rng))

    def act() -> object:
        frame = read_table(path, schema)
        assert list(frame.columns)[: 1] == [schema.column_names[0]]
        write_table(frame, out / "again.csv", schema)
        again = read_table(out / "again.csv", schema)
        assert sorted(map(str, again.to_dict("records"))) == sorted(map(str, frame.to_dict("records")))
        no_formulas(out / "again.csv")
        return again
    return act


def no_formulas(path: Path) -> None:
    """No cell of a CSV that a spreadsheet would run."""
    import csv

    with path.open(newline="", encoding="utf-8") as file:
        csv.field_size_limit(10**8)
        for row in csv.reader(file):
            for cell in row:
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")) or _is_number(cell), cell[:80]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell and cell.strip() == cell


def text_table(folder: Path, out: Path, rng: Rng) -> Act:
    """Any bytes as a table whose cells nothing is believed of."""
    path = folder / "any.csv"
    path.write_bytes(table_bytes(str(rng.choice(list(GOOD))), rng))
    return lambda: read_text(path, "any")


TOML = {
    "name": '"s"', "description": '"d"', "groups": '["control", "exercise"]', "reference_session": '"ses-1"',
    "output": '"out"', "device": '"cpu"', "contrasts": '["water"]', "tissues": '"all"', "visits": '"together"',
    "weights": '"w.safetensors"', "edited": '"e"', "levels": '["L5-S1"]', "level_names": '"levels.csv"',
    "notebooks": '["n.py"]',
}
TABLES = {
    "images": {"layout": '"csv"', "root": '"."', "subjects_csv": '"subjects.csv"', "scans_csv": '"scans.csv"',
               "derivatives": '"d"', "pairs": '{"01" = ["A", "ses-1"]}'},
    "statistics": {"confidence_level": "0.95", "resamples": "2000", "seed": "0", "covariates": '["age"]',
                   "recovery_band_percent": "2.0", "covariance": '"compound_symmetry"'},
}
ODD = (
    "1", "-1", "0", "1e400", "nan", "inf", "-inf", "99999999999999999999999999", "0x7fffffffffffffffffff", "true", '""',
    '" "', '"\\u0000"', '"../../x"', '"a\\nb"', '"s\\n"', '"\\u202e"', '"é"', "1979-05-27T07:32:00Z", "07:32:00",
    "1979-05-27", "[]", "[[]]", "[[[1], [2]], []]", "{}", "{a = {b = {c = 1}}}", '["x", "x"]', '["", ""]', "[1, 2.0]",
    '"' + "x" * 100_000 + '"', '"~/x"', '"~nobody9/x"', '"/dev/zero"', '"<script>alert(1)</script>"', '"=1+1"',
    '"a\\u0000b"', '["a\\u0000b"]', '["=1+1", "b"]', '["NA"]', '"NA"', '"$HOME"', '"' + "a/" * 3000 + '"', "'\x07'",
    '["../x.py"]', '{"../x" = ["../../y", "ses-1"]}', '{"1" = ["A"]}', "[" * 3000 + "]" * 3000, "2_000", "0o17", "+1.5",
    "[{}, {}]", '"\\ud800"', "1.5e-300", '"CON"',
)


def toml_text(rng: Rng) -> str:
    head = {k: v for k, v in TOML.items() if k in ("name", "groups", "reference_session") or rng.random() < 0.3}
    wanted = ("layout", "root", "subjects_csv", "scans_csv", *TABLES["statistics"])
    tables = {n: {k: v for k, v in own.items() if k in wanted} for n, own in TABLES.items()}
    sessions = [{"id": '"ses-1"', "study_day": "-3", "phase": '"baseline"'},
                {"id": '"ses-2"', "study_day": "60", "phase": '"bed_rest"'}]
    for _ in range(int(rng.integers(0, 3))):
        place = [head, *tables.values(), *sessions][int(rng.integers(5))]
        known = [*TOML, *TABLES["images"], *TABLES["statistics"], "id", "study_day", "phase", "x", "path", '"a.b"']
        key = str(rng.choice(known)) if rng.random() < 0.25 else str(rng.choice(list(place)))
        place[key] = str(rng.choice(ODD))
        if rng.random() < 0.1:
            place.pop(key)
    lines = [f"{k} = {v}" for k, v in head.items()]
    for name, own in tables.items():
        lines += [f"[{name}]", *(f"{k} = {v}" for k, v in own.items())]
    for own in sessions:
        lines += ["[[sessions]]", *(f"{k} = {v}" for k, v in own.items())]
    how = int(rng.integers(20))
    if how == 0:
        lines.append(lines[0])
    elif how == 1:
        lines = lines[: int(rng.integers(0, len(lines)))]
    elif how == 2:
        odd = str(rng.choice(["[", "= 1", "a b = 1", "[images]", "[images.root]", "\x00"]))
        lines.insert(int(rng.integers(len(lines))), odd)
    return "\n".join(lines) + "\n"


def study_toml(folder: Path, out: Path, rng: Rng) -> Act:
    """study.toml with wrong types, wrong values, wrong syntax or wrong encoding."""
    path = folder / "study.toml"
    raw = toml_text(rng).encode("utf-8", "surrogatepass")
    how = int(rng.integers(20))
    if how == 0:
        raw = raw.decode("utf-8", "replace").encode("utf-16")
    elif how == 1:
        raw = b"\xef\xbb\xbf" + raw
    elif how == 2:
        at = int(rng.integers(0, len(raw)))
        raw = raw[:at] + rng.bytes(3) + raw[at:]
    elif how == 3:
        raw = rng.bytes(300)
    path.write_bytes(raw)

    def act() -> object:
        study = load_study(path)
        assert isinstance(study, Study) and study.output_dir.is_absolute()
        assert np.isfinite(study.reference_day)
        return study
    return act


def weights(folder: Path, out: Path, rng: Rng) -> Act:
    """What is no weights file of ours: pickles, cut-off files, wrong headers, other tensors."""
    from bedrest.segmentation.weights import SHIPPED, load_weights, training_record

    path = folder / "w.safetensors"
    raw, how = SHIPPED.read_bytes(), int(rng.integers(9))
    size = int.from_bytes(raw[:8], "little")
    if how == 0:
        path.write_bytes(pickle.dumps(Runs(str(out / "was_run"))))
    elif how == 1:
        path.write_bytes(raw[: int(rng.integers(0, len(raw)))])
    elif how == 2:
        path.write_bytes(struct.pack("<Q", int(rng.choice([0, 1, 2**31, 2**63, size + 9, size - 9], 1)[0])) + raw[8:])
    elif how == 3:
        at = int(rng.integers(8, 8 + size))
        path.write_bytes(raw[:at] + rng.bytes(2) + raw[at + 2 :])
    elif how == 4:
        path.write_bytes(rng.bytes(int(rng.integers(0, 500))))
    elif how == 5:
        path.mkdir()
    else:
        path.write_bytes(_with_header(raw, size, rng))

    def act() -> object:
        if rng.random() < 0.3:
            return training_record(path)
        return load_weights(path)
    return act


class Runs:
    """A pickle of this runs code when it is loaded: it makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (Path(self.path),)


def _with_header(raw: bytes, size: int, rng: Rng) -> bytes:
    """The shipped weights with one entry of the header replaced or taken away."""
    header = json.loads(raw[8 : 8 + size])
    meta = header["__metadata__"]
    odd = ["", "null", "[]", "{}", "1", '{"filters": []}', '{"filters": [0]}', '{"filters": [-1, 2]}',
           '{"filters": "x"}', '{"filters": [1, 2, 3]}', "nan", "[" * 2000, '{"filters": [100000000, 100000000]}']
    kind = int(rng.integers(4))
    if kind == 0:
        meta.pop(str(rng.choice(list(meta))))
    elif kind == 1:
        meta[str(rng.choice(list(meta)))] = str(rng.choice(odd))
    elif kind == 2:
        name = str(rng.choice([k for k in header if k != "__metadata__"]))
        header[f"{name}x"] = header.pop(name)
    else:
        name = str(rng.choice([k for k in header if k != "__metadata__"]))
        shape = header[name]["shape"]
        header[name]["shape"] = [*shape, 1] if rng.random() < 0.5 else list(reversed(shape))
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + raw[8 + size :]


MAKERS = {"table": table, "text_table": text_table, "study_toml": study_toml, "weights": weights}
