"""What requests cost, worked out by hand from the documented rules."""

import pytest

from tools.emulation import meter
from tools.emulation.meter import Bill, Touched


@pytest.mark.parametrize(
    ("number", "size"),
    [
        ("0", 1),
        ("7", 2),
        ("42", 2),
        ("-42", 3),
        ("123", 3),
        ("1700000000", 2),  # 17, its trailing zeros in pairs not counted
        ("1732503600", 5),  # 17325036
        ("3.14", 3),
        ("0.0001", 2),
        ("-1E+2", 3),
    ],
)
def test_a_number_takes_a_byte_and_one_for_every_two_digits(number: str, size: int) -> None:
    assert meter.number_size(number) == size


def test_an_item_counts_names_and_values() -> None:
    item = {
        "id": {"S": "é"},  # 2 + 2
        "raw": {"B": "AAEC"},  # 3 + 3, not the 4 characters of base64
        "n": {"N": "12"},  # 1 + 2
        "ok": {"BOOL": True},  # 2 + 1
        "no": {"NULL": True},  # 2 + 1
        "tags": {"SS": ["ab", "c"]},  # 4 + 3
        "list": {"L": [{"S": "abc"}, {"N": "1"}]},  # 4 + 3 + (1 + 3) + (1 + 2)
        "map": {"M": {"k": {"S": "v"}}},  # 3 + 3 + 1 + 1 + 1
    }
    assert meter.item_size(item) == 4 + 6 + 3 + 3 + 3 + 7 + 14 + 9


def test_an_attribute_of_no_known_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown attribute kind X"):
        meter.value_size({"X": 1})


@pytest.mark.parametrize(
    ("before", "after", "units"),
    [
        (0, 0, 1),  # deleting what is not there
        (0, 1, 1),
        (0, 1024, 1),
        (0, 1025, 2),
        (10_000, 10, 10),  # the larger of the two
        (5_000, 0, 5),  # a delete pays for what it deletes
    ],
)
def test_a_write_pays_for_the_larger_of_before_and_after(before: int, after: int, units: int) -> None:
    assert meter.write_units(Touched(before, after)) == units


def test_each_item_of_a_batch_rounds_up_by_itself() -> None:
    assert meter.written([Touched(0, 100), Touched(0, 100), Touched(0, 1500)]).write == 4
    assert meter.read_each([100, 4097, 0], consistent=True).read == 4
    assert meter.read_each([100, 4097, 0], consistent=False).read == 2


def test_a_query_sums_before_it_rounds() -> None:
    assert meter.read_together([100, 100, 4000], consistent=True).read == 2
    assert meter.read_together([], consistent=False).read == 0.5


def test_a_transaction_costs_double_and_its_replay_reads() -> None:
    items = [Touched(0, 100), Touched(5_000, 5_000)]
    assert meter.transaction_written(items, replayed=False) == meter.Units(write=2 + 10)
    assert meter.transaction_written(items, replayed=True) == meter.Units(read=2 + 4)
    assert meter.transaction_read([100, 5_000]).read == 2 + 4


@pytest.mark.parametrize(
    ("status", "error", "charged"),
    [
        (200, None, True),
        (400, "ConditionalCheckFailedException", True),
        (400, "TransactionCanceledException", True),
        (400, "ProvisionedThroughputExceededException", False),
        (400, "ValidationException", False),
        (500, "InternalServerError", False),
    ],
)
def test_a_failed_condition_is_charged_and_a_throttle_is_not(status: int, error: str | None, charged: bool) -> None:
    assert meter.is_charged(status, error) is charged


def test_bills_add_up_and_subtract() -> None:
    early = Bill(requests=1, write_units=2, bytes_sent=10, by_operation={"PutItem": 1})
    more = Bill(requests=2, read_units=0.5, bytes_received=7, by_operation={"GetItem": 1, "PutItem": 1})
    both = early + more
    assert both == Bill(3, 2, 0.5, 10, 7, {"PutItem": 2, "GetItem": 1})
    assert both - early == more
    assert both - more == early
    assert Bill.from_json(both.to_json()) == both


def test_dollars_are_those_of_the_price_list() -> None:
    assert Bill(write_units=1_000_000, read_units=1_000_000).dollars() == pytest.approx(0.625 + 0.125)
