from manager.cli.format.inspection import indent


def test_numbers_and_escapes_stay_as_they_are_written():
    text = '{"a":1.0,"b":"\\u003e \\" ,","c":[],"d":{}}'
    assert indent(text) == '{\n    "a": 1.0,\n    "b": "\\u003e \\" ,",\n    "c": [],\n    "d": {}\n}'
