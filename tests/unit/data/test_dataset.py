import numpy as np
import pytest

from perceptio.data.dataset import MAX_STAND_INS, EvaluationSamples, Sample, TrainingSamples
from perceptio.data.records import Skipped
from support.samples import NoisyReader, make_source


def training(count: int = 11, *, broken: tuple[int, ...] = (), seed: int = 0) -> TrainingSamples:
    source = make_source(count, broken=broken)
    return TrainingSamples(source, source.records, NoisyReader(), seed)


def shown(sample: Sample) -> np.ndarray:
    """The one view of a sample."""
    (view,) = sample.views
    assert set(view) == {"image"}
    return view["image"]


def test_a_sample_depends_on_its_key_alone():
    samples = training()
    first = shown(samples[(2, 5)])
    for other in range(11):
        samples[(0, other)]
    np.testing.assert_array_equal(shown(samples[(2, 5)]), first)
    np.testing.assert_array_equal(shown(training()[(2, 5)]), first)


@pytest.mark.parametrize(("epoch", "seed"), [(3, 0), (2, 1)])
def test_epoch_and_seed_change_the_view(epoch: int, seed: int):
    assert (shown(training(seed=seed)[(epoch, 5)]) != shown(training()[(2, 5)])).any()


def test_two_samples_of_one_picture_get_different_views():
    samples = training()
    samples.source.arrays["1"] = samples.source.arrays["5"]
    assert (shown(samples[(2, 1)]) != shown(samples[(2, 5)])).any()


def test_a_stand_in_is_a_good_sample_with_its_own_index_and_view():
    samples = training(broken=(5,))
    found = samples[(2, 5)]
    assert found.index != 5
    assert found.failures == (Skipped("5", "broken on purpose"),)
    np.testing.assert_array_equal(shown(found), shown(samples[(2, found.index)]))


def test_stand_ins_are_repeatable_and_differ_between_epochs():
    """Of 20 epochs with 10 good samples all agree by chance with probability 1e-19."""
    chosen = [training(broken=(5,))[(epoch, 5)].index for epoch in range(20)]
    assert chosen == [training(broken=(5,))[(epoch, 5)].index for epoch in range(20)]
    assert len(set(chosen)) > 1


def test_every_failure_on_the_way_is_counted():
    """With 9 of 11 unreadable most keys need several stand-ins."""
    samples = training(broken=tuple(range(2, 11)))
    counts = []
    for epoch in range(5):
        found = samples[(epoch, 7)]
        assert found.index in (0, 1)
        assert found.failures[0].name == "7"
        assert {failure.name for failure in found.failures} <= {str(number) for number in range(2, 11)}
        counts.append(len(found.failures))
    assert max(counts) > 1


def test_too_many_failures_in_a_row_give_no_view_and_all_names():
    sample = training(broken=tuple(range(11)))[(0, 0)]
    assert sample.views == ()
    assert len(sample.failures) == MAX_STAND_INS


def test_evaluation_has_no_stand_ins_and_says_why():
    source = make_source(5, broken=(3,))
    samples = EvaluationSamples(source, source.records, NoisyReader())
    assert len(samples) == 5
    np.testing.assert_array_equal(shown(samples[2]), source.arrays["2"])
    assert (samples[3].index, samples[3].views) == (3, ())
    assert samples[3].failures == (Skipped("3", "broken on purpose"),)


class MirroringReader(NoisyReader):
    """Shows each picture twice in evaluation: as it is and turned round."""

    def evaluation_views(self, items: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
        """Returns both views."""
        (view,) = super().evaluation_views(items)
        return [view, {"image": view["image"][:, ::-1]}]


def test_evaluation_gives_all_views_that_the_reader_has():
    source = make_source(5)
    plain, mirrored = EvaluationSamples(source, source.records, MirroringReader())[3].views
    np.testing.assert_array_equal(plain["image"], source.arrays["3"])
    np.testing.assert_array_equal(mirrored["image"], source.arrays["3"][:, ::-1])
