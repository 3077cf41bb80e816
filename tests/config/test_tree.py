from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.tree import Mapping, Node, Scalar, Sequence, parse
from proxy.domain.errors import ConfigFault, Place


def entries(node: Node) -> dict[str, Node]:
    assert isinstance(node, Mapping)
    return {key.text: value for key, value in node.entries}


def value(text: str) -> Scalar:
    node = entries(parse(f"name: {text}", "f.yaml"))["name"]
    assert isinstance(node, Scalar)
    return node


def test_every_name_and_value_knows_its_line() -> None:
    root = parse("a: 1\nb:\n  - x\n  -\n    c: 2\n", "f.yaml")
    assert isinstance(root, Mapping)
    assert [key.place for key, _ in root.entries] == [Place("f.yaml", 1), Place("f.yaml", 2)]
    items = entries(root)["b"]
    assert isinstance(items, Sequence)
    assert [item.place.line for item in items.items] == [3, 5]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("no", False),
        ("10_000", 10_000),
        ("2.5", 2.5),
        ("~", None),
        ("'10'", "10"),
        ("90s", "90s"),
        ("22:00", "22:00"),
        ("1:30.5", "1:30.5"),
        ("2026-11-23", "2026-11-23"),
        ("=", "="),
    ],
)
def test_scalars_are_read_as_people_mean_them(text: str, expected: object) -> None:
    read = value(text)
    assert read.value == expected
    assert type(read.value) is type(expected)


def test_the_text_of_a_scalar_is_what_stands_in_the_file() -> None:
    assert (value("no").text, value("0777").text, value("'x'").text) == ("no", "0777", "x")


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing but a remark\n"])
def test_a_file_without_content_is_an_empty_mapping(text: str) -> None:
    assert parse(text, "f.yaml") == Mapping((), Place("f.yaml", 1))


def test_a_byte_order_mark_and_windows_line_ends_are_no_mistakes() -> None:
    root = parse("\ufeffa: 1\r\nb: 2\r\n", "f.yaml")
    assert isinstance(root, Mapping)
    assert [(key.text, key.place.line) for key, _ in root.entries] == [("a", 1), ("b", 2)]


def test_an_alias_is_what_it_stands_for() -> None:
    root = entries(parse("a: &here {x: 1}\nb: *here\n", "f.yaml"))
    assert root["a"] == root["b"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "'a' is here twice; keep one of them"),
        ("a:\n  b: 1\n  'b': 2\n", 3, "'b' is here twice"),
        ("a:\n\tb: 1\n", 2, "a tab stands here; YAML wants spaces"),
        ("a: b: c\n", 1, "check the indentation"),
        ("a: 1\n b: 2\n", 2, "check the indentation"),
        ("a: @home\n", 1, "needs quotes"),
        ("a: 1\nb: 'never ends\nc: 2\n", 2, "the quoted text that begins here is broken"),
        ("a: [1, 2\nb: 3\n", 2, "this is not valid YAML"),
        ("a: *nobody\n", 1, "undefined alias 'nobody'"),
        ("a: 1\n---\nb: 2\n", 2, "a second document begins here"),
        ("a: 1\nb: \x07\n", 2, "a control character"),
        ("a: 1\n<<: {b: 2}\n", 2, "'<<' is not used here; write the values out"),
        ("a: 1\nb: !thing 2\n", 2, "type '!thing' is not possible here"),
        ("b: !thing [2]\n", 1, "type '!thing' is not possible here"),
        ("b: !!python/object:os.system {x: 1}\n", 1, "type 'python/object:os.system' is not possible here"),
        ("b: !!int many\n", 1, "type 'int' is not possible here"),
        ("a: 1\n? [x, y]\n: 2\n", 2, "a name is expected here"),
    ],
)
def test_a_mistake_names_its_line_and_says_what_would_be_right(text: str, line: int, words: str) -> None:
    with pytest.raises(ConfigFault) as caught:
        parse(text, "f.yaml")
    assert caught.value.place == Place("f.yaml", line)
    assert words in caught.value.message
    assert str(caught.value).startswith(f"f.yaml:{line}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: &loop [*loop]\n", "[" * 5000])
def test_a_file_without_a_bottom_is_refused(text: str) -> None:
    with pytest.raises(ConfigFault, match=r"^f\.yaml: values are nested too deeply, or an alias contains itself$"):
        parse(text, "f.yaml")


def test_a_file_whose_aliases_multiply_is_refused() -> None:
    doubled = "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9))
    with pytest.raises(ConfigFault, match="too large once its aliases are followed"):
        parse("a0: &a0 x\n" + doubled, "f.yaml")


@given(st.text(alphabet=st.sampled_from("ab:- \n\t'\"[]{},&*!#|>?%@0179.~<é\x00"), max_size=60))
def test_any_text_is_a_tree_or_a_fault_and_nothing_else(text: str) -> None:
    with suppress(ConfigFault):
        parse(text, "f.yaml")
