from perceptio.runs.exactness import EXACT, describe_differences, how_exact

FACTS = {
    "data": "a1",
    "split": "b2",
    "config": {
        "epochs": 3.0,
        "patience": 2.0,
        "training": {"schedule": {"kind": "cosine"}, "patience_epochs": None, "exact": False},
        "kinds": ["x"],
    },
    "versions": {"torch": "2.13.0", "numpy": "2.4"},
    "threads": 2,
    "omp_dynamic": "false",
    "device": "cpu",
    "num_processes": 1,
}


def changed(**parts):
    return {**FACTS, **parts}


def test_equal_facts_are_exact():
    assert describe_differences(FACTS, dict(FACTS)) == []
    assert how_exact(FACTS, dict(FACTS)) == EXACT == "bit for bit as if never stopped"


def test_each_difference_is_named_with_both_values_and_nothing_else():
    training = {**FACTS["config"]["training"], "schedule": {"kind": "constant"}}
    now = changed(
        data="a9",
        config={"epochs": 5.0, "patience": None, "training": training, "kinds": ["x", "y"]},
        versions={"torch": "2.14.0", "numpy": "2.4", "numba": "0.62"},
        threads=4,
    )
    assert describe_differences(FACTS, now) == [
        "other data",
        "epochs 3.0 -> 5.0",
        "patience 2.0 -> none",
        "training.schedule.kind cosine -> constant",
        "kinds ['x'] -> ['x', 'y']",
        "torch 2.13.0 -> 2.14.0",
        "numba not there -> 0.62",
        "threads 2 -> 4",
    ]


def test_what_an_older_version_did_not_record_is_said_once():
    before = {name: value for name, value in changed(config="401faf48f9171232").items() if name != "split"}
    assert describe_differences(before, FACTS) == [
        "split not recorded",
        "config recorded in an older form that cannot be compared",
    ]


def test_never_exact_where_it_may_not_be():
    several = changed(num_processes=4)
    assert how_exact(several, several).endswith("sums over more than two processes may differ in their last bits")
    gpu = changed(device="NVIDIA H100")
    assert how_exact(gpu, gpu) == (
        "with the same samples and random choices; sums on a GPU may differ in their last bits (--training.exact)"
    )
    exact = changed(device="NVIDIA H100", config={"training": {"exact": True}})
    assert how_exact(exact, exact) == EXACT
    dynamic = changed(omp_dynamic="true")
    assert how_exact(dynamic, dynamic) == (
        "not bit-exact: OMP_DYNAMIC is on, so that the number of threads may change from step to step"
    )
    for name in FACTS:
        assert how_exact(FACTS, changed(**{name: "other"})).startswith("not bit-exact: "), name
