"""Whether pods would find nodes: by what is free on each, not in sum."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from flotilla.recovery.capacity import Need, Space, homeless

GIB = 1024**3


def space(node: str, cpu: str, gib: int, pods: int = 10) -> Space:
    return Space(node, Decimal(cpu), Decimal(gib * GIB), pods)


def need(copies: int, cpu: str = "1", gib: int = 1, nodes: str = "abc", name: str = "orders") -> Need:
    return Need(name, copies, Decimal(cpu), Decimal(gib * GIB), frozenset(nodes))


def test_enough_in_sum_and_on_no_node_is_not_enough():
    assert ("1 of 1 more pods of orders would find no node (2 cores, 1024 MiB each)",) == homeless(
        [space("a", "1.5", 4), space("b", "1.5", 4)], [need(1, "2")]
    )


def test_each_of_cores_memory_number_and_the_nodes_that_may_have_it_can_run_out():
    assert () == homeless([space("a", "2", 2)], [need(2)])
    assert homeless([space("a", "1.9", 2)], [need(2)])
    assert homeless([space("a", "2", 1)], [need(2)])
    assert homeless([space("a", "2", 2, pods=1)], [need(2)])
    assert homeless([space("a", "2", 2)], [need(2, nodes="b")])
    assert homeless([], [need(1)])


def test_what_one_takes_another_does_not_find():
    told = homeless([space("a", "2", 8)], [need(1, gib=1, name="small"), need(2, gib=2, name="large")])

    assert ("1 of 1 more pods of small would find no node (1 cores, 1024 MiB each)",) == told


def test_what_is_there_already_needs_nothing():
    assert () == homeless([], [need(0)])


@given(st.lists(st.integers(0, 8), max_size=5), st.integers(0, 30))
def test_of_pods_that_are_all_the_same_as_many_find_a_node_as_can(free: list[int], copies: int):
    spaces = [Space(str(at), Decimal(one), Decimal(one * GIB), 100) for at, one in enumerate(free)]
    told = homeless(spaces, [need(copies, nodes="01234")])

    assert (sum(free) < copies) == bool(told)
