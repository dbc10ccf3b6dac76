"""Where tasks run: never more than a machine has, given back once, fair between tenants, and nobody is forgotten."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.core.placing.admission import PATIENCE, Admission, Grant
from interlock.core.placing.amounts import given as what_is_given
from interlock.core.placing.over_ask import Policy, stricter
from interlock.core.placing.wishes import LOOKED_AT
from interlock.core.resources import Placement, Resources
from interlock.core.worker import Capacity, Gpu


def house(cpu: float = 4, memory: float = 8_000, *gpus: Gpu) -> Admission:
    admission = Admission()
    admission.set_machine("local-1", Capacity(cpu=cpu, memory=memory, gpus=gpus), address="10.0.0.1")
    return admission


def ask(
    admission: Admission,
    key: str,
    tenant: str = "a",
    *,
    policy: Policy = "queue",
    priority: int = 5,
    is_lost: bool = False,
    **more: Any,
) -> None:
    admission.ask(key, tenant, Resources(**more), policy, priority, is_lost=is_lost)


def granted(admission: Admission) -> list[Any]:
    return [grant.key for grant in admission.grants()]


def only(admission: Admission) -> Grant:
    (grant,) = admission.grants()
    return grant


def test_a_task_has_one_core_at_least_and_a_device_for_its_memory() -> None:
    admission = house(4, 1_000, Gpu(number=3, memory=500.0))
    ask(admission, "t", cpu=0.1, gpu_memory=200)
    assert only(admission).placement == Placement(worker="local-1", address="10.0.0.1", gpus=(3,))
    assert admission.machines["local-1"].free == Resources(cpu=3, memory=1_000, gpu=0, gpu_memory=0)


def test_what_is_more_than_the_machine_is_cut_down_and_said_so() -> None:
    admission = house(4, 8_000)
    wish = Resources(cpu=10, memory=123, gpu=0.8, gpu_memory=324)
    admission.ask("B", "a", wish, "clamp", 5)
    placement = only(admission).placement
    assert placement.clamped == {"cpu": (10, 4), "gpu": (0.8, 0), "gpu_memory": (324, 0)}
    assert what_is_given(wish, placement) == Resources(cpu=4, memory=123)


def test_what_is_more_than_any_machine_waits_for_one_that_has_it() -> None:
    admission = house()
    ask(admission, "t", gpu=1)
    assert granted(admission) == []
    assert not admission.has_place_for("t") and admission.waiting() == (0, 1)
    assert admission.lacking(Resources(gpu=1)) == {"gpu": (1, 0)}
    admission.set_machine("gpu-1", Capacity(cpu=1, memory=10, gpus=(Gpu(number=0),)))
    assert admission.has_place_for("t") and only(admission).worker_id == "gpu-1"


def test_shares_of_a_device_lie_on_one_and_whole_ones_are_nobody_elses() -> None:
    admission = house(9, 100, Gpu(number=0), Gpu(number=1))
    ask(admission, "share", gpu=0.6)
    assert only(admission).gpus == (0,)
    ask(admission, "other", gpu=0.6)
    assert only(admission).gpus == (1,)
    ask(admission, "third", gpu=0.6)
    assert granted(admission) == []  # 0.8 are free, but on two devices
    admission.release("share")
    admission.release("other")
    assert only(admission).gpus == (0,)
    ask(admission, "pair", gpu=1.5)
    assert granted(admission) == []  # it needs two whole ones
    admission.release("third")
    assert only(admission).gpus == (0, 1)


def test_the_first_machine_that_fits_is_taken() -> None:
    admission = house(2)
    admission.set_machine("w2", Capacity(cpu=8, memory=8_000))
    for key in ("one", "two", "three"):
        ask(admission, key)
    assert [grant.worker_id for grant in admission.grants()] == ["local-1", "local-1", "w2"]


def test_tenants_take_turns_then_priority_then_age() -> None:
    admission = house(1)
    for key in ("a1", "a2", "a3"):
        ask(admission, key, "a")
    ask(admission, "a-high", "a", priority=9)
    ask(admission, "b1", "b")
    served = []
    for _ in range(5):
        served += granted(admission)
        admission.release(served[-1])
    assert served == ["a-high", "b1", "a1", "a2", "a3"]


def test_what_lost_its_place_comes_first_and_is_passed_once() -> None:
    admission = house(4)
    for key in ("one", "two", "three", "four"):
        ask(admission, key)
    assert granted(admission) == ["one", "two", "three", "four"]
    for number in range(4):
        ask(admission, f"small{number}")
    ask(admission, "urgent", priority=6)
    ask(admission, "lost", cpu=2, is_lost=True)
    admission.release("one")
    assert granted(admission) == ["urgent"]
    admission.release("two")
    assert granted(admission) == ["small0"]
    admission.release("three")
    assert granted(admission) == []  # room is kept
    admission.release("four")
    assert granted(admission) == ["lost"]


def test_a_small_task_goes_past_a_large_one_that_does_not_fit() -> None:
    admission = house(4, 100, Gpu(number=0))
    ask(admission, "first", gpu=1)
    assert granted(admission) == ["first"]
    ask(admission, "second", gpu=1)
    ask(admission, "small")
    assert granted(admission) == ["small"]


def test_wishes_that_no_machine_can_meet_hide_none_that_one_can() -> None:
    admission = house(4)
    for number in range(LOOKED_AT + 1):
        ask(admission, f"gpu{number}", gpu=1, gpu_memory=1_000 + number)
    ask(admission, "small", priority=1)
    assert granted(admission) == ["small"] and admission.waiting() == (0, LOOKED_AT + 1)
    admission.set_machine("gpu-1", Capacity(cpu=1, memory=10, gpus=(Gpu(number=0),)))
    assert granted(admission) == ["gpu0"]  # they are looked at as soon as there is such a machine
    ask(admission, "other", priority=9)
    assert granted(admission) == ["other"]
    admission.remove_machine("gpu-1")
    for key in ("gpu0", "other", "small"):
        admission.release(key)
    ask(admission, "last", cpu=4)
    assert granted(admission) == ["last"]


def test_the_best_are_looked_at_first_however_many_kinds_wait() -> None:
    admission = house(4)
    ask(admission, "all", cpu=4)
    assert granted(admission) == ["all"]
    for number in range(LOOKED_AT + 1):
        ask(admission, f"old{number}", memory=1 + number)
    ask(admission, "urgent", memory=5_000, priority=9)
    admission.release("all")
    assert granted(admission) == ["urgent", "old0", "old1", "old2"]


def test_a_large_task_is_not_starved_by_small_ones_of_others() -> None:
    admission = house(4)
    running = []
    for number in range(4):
        ask(admission, f"b{number}", "b")
    running += granted(admission)
    ask(admission, "large", "a", cpu=4)
    for number in range(4, 200):
        ask(admission, f"b{number}", "b")
        admission.release(running.pop(0))
        found = granted(admission)
        if "large" in found:
            break
        running += found
    assert number <= 4 + PATIENCE + 4, number


def test_what_waits_for_a_device_keeps_only_the_room_it_needs() -> None:
    admission = house(4, 100, Gpu(number=0))
    ask(admission, "long", gpu=1)
    assert granted(admission) == ["long"]
    ask(admission, "next", "a", gpu=1, cpu=2)
    for number in range(PATIENCE + 10):  # cores that it will not need go on being used
        ask(admission, f"small{number}", "b")
        assert granted(admission) == [f"small{number}"]
        admission.release(f"small{number}")
    ask(admission, "other", "b", cpu=2)
    assert granted(admission) == []  # two of three free cores are kept


def test_a_machine_that_drains_gets_nothing_new_and_one_that_is_gone_says_who_was_there() -> None:
    admission = house(4)
    admission.set_machine("w2", Capacity(cpu=8, memory=8_000))
    ask(admission, "here")
    assert granted(admission) == ["here"]
    admission.drain("local-1")
    ask(admission, "there")
    assert only(admission).worker_id == "w2"
    assert admission.remove_machine("w2") == ["there"]
    ask(admission, "nowhere")
    assert granted(admission) == [] and not admission.has_place_for("nowhere")
    assert admission.release("there") and not admission.release("there")


def test_an_announcement_anew_keeps_what_runs() -> None:
    admission = house(4)
    ask(admission, "t", cpu=3)
    assert granted(admission) == ["t"]
    admission.set_machine("local-1", Capacity(cpu=8, memory=8_000))
    assert admission.machines["local-1"].free.cpu == 5
    admission.release("t")
    assert admission.machines["local-1"].free.cpu == 8


def test_what_is_more_than_a_processes_part_of_the_machine_takes_all_of_that_part() -> None:
    admission = Admission()
    admission.set_machine("local-1", Capacity(cpu=1, memory=250), whole=Capacity(cpu=4, memory=1_000))
    ask(admission, "large", cpu=3, memory=100)
    ask(admission, "small")
    ask(admission, "huge", cpu=5, policy="clamp")
    assert only(admission).placement.clamped == {}
    assert admission.machines["local-1"].free == Resources(cpu=0, memory=150)
    admission.release("large")
    assert granted(admission) == ["small"]
    admission.release("small")
    assert only(admission).placement.clamped == {"cpu": (5, 4)}


def test_a_task_asks_once() -> None:
    admission = house()
    ask(admission, "t")
    with pytest.raises(ValueError, match="asked already"):
        ask(admission, "t")
    assert admission.withdraw("t") and not admission.withdraw("t")
    assert granted(admission) == []


def test_a_stricter_policy_wins() -> None:
    assert stricter("clamp", None) == "clamp"
    assert stricter("queue", "clamp") == "queue"
    assert stricter("queue", "reject") == "reject"


RESOURCES = st.builds(
    Resources,
    cpu=st.floats(0, 6),
    memory=st.floats(0, 1_200),
    gpu=st.sampled_from([0.0, 0.0, 0.3, 0.5, 0.8, 1.0, 2.0]),
    gpu_memory=st.sampled_from([0.0, 0.0, 100.0, 700.0]),
)
WISHES = st.tuples(st.sampled_from("abc"), RESOURCES, st.sampled_from(["clamp", "queue"]), st.integers(0, 9))


@settings(max_examples=150, deadline=None)
@given(st.lists(WISHES, max_size=40), st.integers(0, 2**32))
def test_nothing_is_given_twice_and_everything_comes_back(wishes: list[Any], seed: int) -> None:
    choice = random.Random(seed)
    admission = house(4, 1_000, Gpu(number=0, memory=800.0), Gpu(number=1))
    admission.set_machine("w2", Capacity(cpu=2.5, memory=500.0))
    before = {name: machine.free for name, machine in admission.machines.items()}
    held: dict[Any, Grant] = {}
    waiting = list(enumerate(wishes))
    asked: set[int] = set()
    while waiting or held:
        step = choice.randrange(4)
        if choice.random() < 0.1 and not admission.held_on("w3"):
            come_or_go(admission, "w3", Capacity(cpu=6, memory=1_100.0))
        if waiting and step < 2:
            key, (tenant, resources, policy, priority) = waiting.pop()
            admission.ask(key, tenant, resources, policy, priority)
            asked.add(key)
        elif asked and step == 2 and choice.random() < 0.2:
            gone = choice.choice(sorted(asked))
            asked.discard(gone)
            assert admission.withdraw(gone)
        elif held:
            key = choice.choice(sorted(held))
            del held[key]
            assert admission.release(key) and not admission.release(key)
        for grant in admission.grants():
            asked.discard(grant.key)
            held[grant.key] = grant
        check_capacity(admission, held)
    admission.remove_machine("w3")
    assert {name: machine.free for name, machine in admission.machines.items()} == before
    stuck = [key for key in asked if admission.has_place_for(key)]
    assert stuck == [], "with everything free whoever could have a place has one"


def come_or_go(admission: Admission, worker_id: str, capacity: Capacity) -> None:
    if worker_id in admission.machines:
        admission.remove_machine(worker_id)
    else:
        admission.set_machine(worker_id, capacity)


def check_capacity(admission: Admission, held: dict[Any, Grant]) -> None:
    for name, machine in admission.machines.items():
        here = [grant for grant in held.values() if grant.worker_id == name]
        assert math.fsum(grant.fitted.ask.cpu for grant in here) <= 1_000 * machine.capacity.cpu
        assert math.fsum(grant.fitted.ask.memory for grant in here) <= 1_000 * machine.capacity.memory
        for gpu in machine.capacity.gpus:
            on_it = [grant.fitted.ask for grant in here if gpu.number in grant.gpus]
            assert sum(min(1_000, ask.gpu) for ask in on_it) <= 1_000
            if gpu.memory:
                assert sum(ask.gpu_memory for ask in on_it if ask.gpu < 1_000) <= 1_000 * gpu.memory


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(1, 4)), min_size=1, max_size=60))
def test_no_tenant_waits_for_more_than_one_task_of_each_other(wishes: list[tuple[str, int]]) -> None:
    """With tasks that fit everywhere, between two tasks of a tenant that waits each other tenant has one at most."""
    admission = house(1)
    left: dict[str, int] = {}
    for number, (tenant, _) in enumerate(wishes):
        ask(admission, f"{tenant}/{number}", tenant)
        left[tenant] = left.get(tenant, 0) + 1
    since: dict[str, list[str]] = {tenant: [] for tenant in left}
    for _ in wishes:
        (key,) = granted(admission)
        tenant = key[0]
        for other in left:
            if other != tenant and left[other]:
                since[other].append(tenant)
                assert len(since[other]) == len(set(since[other])), since
        since[tenant] = []
        left[tenant] -= 1
        admission.release(key)
