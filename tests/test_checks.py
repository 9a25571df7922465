import re

import numpy as np
import pytest

from fastrefocus import checks


def test_accepted_values_come_back_as_python_numbers():
    assert checks.number(np.float32(0.5), "lam", above=0) == 0.5
    assert type(checks.number(np.int64(3), "lam")) is float
    assert type(checks.integer(np.uint8(3), "threads", least=1)) is int
    assert checks.numbers((x for x in (1, 2.5)), "sigmas", above=0) == (1.0, 2.5)
    assert checks.numbers(np.array([1, 2]), "sigmas") == (1.0, 2.0)
    assert checks.choice("far", "side", ("far", "near")) == "far"


@pytest.mark.parametrize("value", [True, np.True_, "1", None, 1j, [1], np.array(1.0)])
def test_what_is_no_number_is_a_type_error(value):
    with pytest.raises(TypeError, match="lam must be a number > 0, got "):
        checks.number(value, "lam", above=0)
    with pytest.raises(TypeError, match="threads must be an int >= 1, got "):
        checks.integer(value, "threads", least=1)


@pytest.mark.parametrize("value", [0, -1.0, 2, np.nan, np.inf, -np.inf, 10**400])
def test_number_out_of_its_range(value):
    with pytest.raises(ValueError, match="relaxation must be a finite number > 0 and < 2, got "):
        checks.number(value, "relaxation", above=0, below=2)


def test_bounds():
    assert checks.number(0, "tol", least=0) == 0
    with pytest.raises(ValueError, match=r"tol must be a finite number >= 0, got -1e-09"):
        checks.number(-1e-9, "tol", least=0)
    assert checks.integer(1, "threads", least=1) == 1
    with pytest.raises(ValueError, match="threads must be >= 1, got 0"):
        checks.integer(0, "threads", least=1)
    with pytest.raises(TypeError, match=r"threads must be an int >= 1, got 1\.0"):
        checks.integer(1.0, "threads", least=1)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ([1, 0.0], ValueError, r"sigmas\[1\] must be a finite number > 0 and < 9, got 0\.0"),
        ([1, 9], ValueError, r"sigmas\[1\] must be a finite number > 0 and < 9, got 9"),
        ([1, "2"], TypeError, r"sigmas\[1\] must be a number > 0 and < 9, got '2'"),
        ([], ValueError, "sigmas must hold at least one number, got none"),
        (3, TypeError, "sigmas must be a sequence of numbers, got 3"),
        ("34", TypeError, "sigmas must be a sequence of numbers, got '34'"),
        (None, TypeError, "sigmas must be a sequence of numbers, got None"),
    ],
)
def test_what_is_no_sequence_of_numbers_is_refused(values, error, message):
    with pytest.raises(error, match=message):
        checks.numbers(values, "sigmas", above=0, below=9)


@pytest.mark.parametrize("value", ["FAR", "", None, 1, ["far"], np.array(["far", "near"])])
def test_a_choice_lists_what_is_accepted(value):
    with pytest.raises(ValueError, match=re.escape("side must be one of 'far', 'near', got ")):
        checks.choice(value, "side", ("far", "near"))


@pytest.mark.parametrize("value", [True, False, np.True_, np.False_])
def test_flag_accepts_booleans(value):
    assert checks.flag(value, "x") is bool(value)


@pytest.mark.parametrize("value", ["no", 0, 1, None, [True]])
def test_flag_refuses_the_rest(value):
    with pytest.raises(TypeError, match="x must be True or False, got"):
        checks.flag(value, "x")
