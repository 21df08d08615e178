"""Reading a long array item by item: the same items as at once, the same mistakes, and never much memory."""

import json
import random
import tracemalloc
from typing import Any

import pytest

from rules.json_text import BadJson, NoArray, TooLong, items, parse

LONGEST = 6000
EVENT = {"type": "deposit", "amount": "42.00", "user_id": 1, "time": 10, "note": 'a "},{" b] é \U0001f600 \\'}


def read(raw: bytes) -> list[Any]:
    """All items, of at most LONGEST characters each."""
    return list(items(raw, LONGEST))


def written(values: Any, seed: int) -> bytes:
    """`values` as JSON, with white space of all kinds and lengths between them."""
    choice = random.Random(seed)

    def blank() -> str:
        return "".join(choice.choices(" \t\r\n", k=choice.choice([0, 0, 0, 1, 2, 3000])))

    texts = [json.dumps(value, ensure_ascii=choice.random() < 0.5) for value in values]
    return (blank() + "[" + ",".join(blank() + text + blank() for text in texts) + blank() + "]" + blank()).encode()


@pytest.mark.parametrize("seed", range(20))
def test_the_same_items_as_at_once(seed: int) -> None:
    """Whatever is in the array and wherever it is cut into pieces, its items are those of the whole."""
    choice = random.Random(seed)
    kinds = [
        EVENT,
        {},
        [],
        [[1, {"a": [{}]}]],
        "},{",
        "é" * 900,
        "\U0001f600" * 400,
        1.50,
        12,
        -1,
        True,
        None,
        "",
        1e300,
    ]
    values = [choice.choice(kinds) for _ in range(choice.choice([0, 1, 2, 50, 3000]))]
    raw = written(values, seed)
    assert read(raw) == parse(raw)


@pytest.mark.parametrize("one", [parse, read])
@pytest.mark.parametrize("count", [1, 1000])
def test_a_byte_order_mark(one: Any, count: int) -> None:
    """It is named, since no editor shows it."""
    with pytest.raises(BadJson, match=r"^it begins with a byte order mark$"):
        one(json.dumps([EVENT] * count).encode("utf-8-sig"))


@pytest.mark.parametrize("size", [10, 100_000, 300_000])
def test_mistakes_are_found_wherever_they_are(size: int) -> None:
    """A broken array is refused with the place of the mistake, however much comes before and after it."""
    event = json.dumps(EVENT, ensure_ascii=False)
    before = f"[{event},\n" + f"{event},\n" * (size // len(event))
    line = before.count("\n") + 1
    rest = f",{event}" * (size // len(event)) + "]"
    for bad, why in (
        ('{"a" 1}', f"Expecting ':' delimiter at line {line}, column 6"),
        ("1 2", f"Expecting ',' delimiter at line {line}, column 3"),
        ("nul", f"Expecting value at line {line}, column 1"),
        ("", f"Expecting value at line {line}, column 1"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"a": "\\x"}', f"Invalid \\escape at line {line}, column 8"),
        ("[" * 2900 + "]" * 2900, "it is nested too deeply"),
    ):
        with pytest.raises(BadJson) as caught:
            read((before + bad + rest).encode())
        assert str(caught.value) == why
    for end, why in (("1]x", "Extra data"), ("1", "Expecting ','"), ("", "Expecting value"), ('"a', "Unterminated")):
        with pytest.raises(BadJson, match=f"^{why}"):
            read((before + end).encode())
    with pytest.raises(BadJson, match=f"^byte {len(before.encode()) + 1} is not UTF-8$"):
        read(before.encode() + b'"\xff"' + rest.encode())


@pytest.mark.parametrize("value", ["x" * 5999, ["x"] * 2000, {"a": "},{" * 2000}, [1.5] * 2000, "[" * 5999, "é" * 5999])
@pytest.mark.parametrize("before", [0, 3, 5_000])
def test_an_item_that_is_too_long(value: Any, before: int) -> None:
    """An item of more than so many characters ends the reading, by its index; what stands before it is read."""
    raw = json.dumps([EVENT] * before + [value, EVENT], ensure_ascii=False).encode()
    reading = items(raw, LONGEST)
    assert [next(reading) for _ in range(before)] == [EVENT] * before
    with pytest.raises(TooLong) as caught:
        next(reading)
    assert caught.value.index == before


@pytest.mark.parametrize("raw", [b"{}", b"1", b'"[]"', b"null", b'{"a":' + b"1" * 10_000])
def test_no_array(raw: bytes) -> None:
    """Another value is no array; a long one is not even read."""
    with pytest.raises(NoArray):
        read(raw)


MIB = 1024 * 1024
LARGE = {
    "numbers": b"[" + b"1.5," * MIB + b"1]",
    "empty objects": b"[" + b"{}," * MIB + b"{}]",
    "members": b"[{" + b",".join(b'"k%d":1' % n for n in range(300_000)) + b"}]",
    "numbers within": b"[[" + b"1.5," * MIB + b"1]]",
    "events with much in them": b"["
    + b'{"x":[' * 1
    + b"1.5," * 200
    + b"1]}"
    + b',{"x":[1.5,1.5,1.5,1.5]}' * 150_000
    + b"]",
    "strings that look like ends": b"[" + b'"},",' * 800_000 + b"1]",
    "an open string": b'["' + b"x" * 4 * MIB,
    "an emoji and white space": '["\U0001f600",'.encode() + b" " * 4 * MIB + b"1]",
    "brackets": b"[" * 4 * MIB,
}


@pytest.mark.parametrize("raw", LARGE.values(), ids=LARGE)
def test_memory_stays_near_the_size_of_the_body(raw: bytes) -> None:
    """Ten thousand items, or all up to a mistake, are read within a fraction of what the body takes."""
    assert len(raw) > 3 * MIB or b"k1" in raw
    tracemalloc.start()
    try:
        for count, _ in enumerate(items(raw, 64 * 1024)):
            if count == 10_000:
                break
    except (BadJson, TooLong):
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 8 * MIB
