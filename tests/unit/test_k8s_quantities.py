"""Amounts are read as Kubernetes reads them."""

import pytest

from tests.k8s.quantities import quantity


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ("999m", "1"), ("1500m", "2"), (1, "1001m"), ("0.1", "200m"), ("900n", "1u"),
        ("1000Mi", "1Gi"), ("1G", "1Gi"), ("1023Ki", "1Mi"), ("1e3", "1001"), ("1E", "1Ei"), ("1E3", "1M"), ("9", 1e1),
    ],
)  # fmt: skip
def test_quantities_are_compared_by_what_they_mean(less: str | float, more: str | float) -> None:
    assert quantity(less) < quantity(more)


@pytest.mark.parametrize(("one", "other"), [("1000m", "1"), ("1024Mi", "1Gi"), ("1.5", "1500m"), ("2e3", "2k")])
def test_the_same_amount_may_be_written_in_several_ways(one: str, other: str) -> None:
    assert quantity(one) == quantity(other)


@pytest.mark.parametrize("text", ["", "Gi", "2GB", "1 Gi", "1gi", "1K", "2e", "1Gi5", "one", "1_000"])
def test_what_kubernetes_cannot_read_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        quantity(text)
