"""What pydantic refuses, as one line."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, BeforeValidator, ValidationError

from app.core.one_line import one_line
from app.core.read_failure import read_failure
from app.core.validation import InvalidValue


def even(value: object) -> object:
    if value == 3:
        raise ValueError("Allowed are even numbers")
    return value


class Inner(BaseModel):
    numbers: list[Annotated[int, BeforeValidator(even)]]


class Outer(BaseModel):
    inner: Inner


def refused(values: object) -> InvalidValue:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(values)
    return InvalidValue.first_of(caught.value)


def test_a_refused_value_is_named_by_its_whole_path():
    invalid = refused({"inner": {"numbers": [2, "x"]}})
    assert invalid.key == "inner.numbers.1"
    assert invalid.line(invalid.key, "'x'").startswith("inner.numbers.1: 'x': input should be a valid integer")


def test_the_text_of_our_own_validators_has_no_prefix_of_pydantics():
    assert refused({"inner": {"numbers": [3]}}).message == "allowed are even numbers"


def test_a_value_that_must_not_be_shown_is_left_out():
    assert refused({}).line("inner") == "inner: field required"


def test_an_error_of_elsewhere_is_one_line_and_never_empty():
    assert one_line(RuntimeError("a\n  b")) == "a b"
    assert one_line(RuntimeError()) == "RuntimeError"


def test_a_file_that_cannot_be_read_says_why_without_its_path():
    assert read_failure(PermissionError(13, "Permission denied", "/secret")) == "Permission denied"
    assert read_failure(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")) == "it is not text"
