from dataclasses import replace

import pytest

from perceptio.errors import UsageError
from perceptio.models.counts import count_parameters
from perceptio.models.perceiver import build_perceiver
from perceptio.recipes.registry import describe_recipe, find_recipe
from perceptio.recipes.smoke import smoke


def test_an_unknown_recipe_lists_the_nearest():
    with pytest.raises(UsageError, match=r"unknown recipe 'imagnet'. Nearest: imagenet.* All: perceptio recipes"):
        find_recipe("imagnet")
    with pytest.raises(UsageError, match=r"unknown recipe 'qqq'. Known: audioset-mel, "):
        describe_recipe("qqq")


def test_imagenet_carries_the_papers_numbers():
    """Section 4.1 and App. C; betas, decay, clipping and batch are the official code's."""
    config = find_recipe("imagenet")
    model, training = config.model, config.training
    assert (config.epochs, config.learning_rate, config.batch_size) == (120, 0.004, 1024)
    assert (training.optimizer.kind, training.optimizer.betas) == ("lamb", (0.9, 0.999))
    assert (training.optimizer.eps, training.optimizer.weight_decay, training.optimizer.clip_norm) == (1e-6, 0.1, 10.0)
    assert (training.schedule.kind, training.schedule.decay_epochs) == ("steps", (84.0, 102.0, 114.0))
    assert (training.schedule.decay_factor, training.schedule.warmup_epochs) == (0.1, 0.0)
    assert (model.num_latents, model.latent_channels, model.num_cross_attends, model.num_blocks) == (512, 1024, 8, 8)
    assert (model.num_self_attends_per_block, model.num_cross_attend_heads, model.num_self_attend_heads) == (6, 1, 8)
    assert (model.share_cross_attends, model.share_latent_transformers) == ("all_but_first", "all")
    assert (model.dropout, model.attention_dropout, model.latent_init_std) == (0.0, 0.0, 0.02)
    pictures = config.streams.by_name["image"]
    assert (pictures.size, pictures.encoding.num_bands) == ((224, 224), 64)
    assert (pictures.randaugment_layers, pictures.randaugment_magnitude) == (4, 5)
    assert not training.mixing.active
    assert config.task.label_smoothing == 0.0
    assert (config.input_config().num_tokens, config.input_config().input_channels) == (50_176, 261)


def test_permuted_and_learned_change_what_table_2_changes():
    base, permuted, learned = (find_recipe(name) for name in ("imagenet", "imagenet-permuted", "imagenet-learned"))
    plain, shuffled, free = (recipe.streams.by_name["image"] for recipe in (base, permuted, learned))
    assert (permuted.model, permuted.training, permuted.epochs) == (base.model, base.training, base.epochs)
    assert shuffled.encoding.permutation_seed is not None
    assert (free.encoding.positions, free.encoding.learned_channels) == ("learned", 128)
    assert (free.encoding.learned_init_std, learned.model.num_cross_attends) == (1.0, 1)
    assert replace(shuffled, encoding=plain.encoding) == replace(free, encoding=plain.encoding) == plain
    assert learned.input_config().input_channels == 131


def test_fashion_mnist_holds_out_a_twelfth_of_the_official_training_pictures():
    """The official test split is given and stays; the epoch is chosen on 5,000 of the 60,000 others."""
    config = find_recipe("fashion-mnist")
    assert config.source.format == "idx"
    assert round(60_000 * config.split.validation) == 5_000
    pictures = config.streams.by_name["image"]
    assert (pictures.size, pictures.channels, pictures.encoding.patch) == ((28, 28), 1, (4, 4))


def test_fashion_mnist_trains_long_with_crops_and_cutmix():
    config = find_recipe("fashion-mnist")
    pictures, model = config.streams.by_name["image"], config.model
    assert (config.epochs, config.batch_size, config.learning_rate) == (40, 256, 3e-3)
    assert (model.num_latents, model.num_cross_attend_heads) == (16, 32)
    assert (model.num_cross_attends, model.num_blocks) == (4, 4)
    assert (model.share_cross_attends, model.share_latent_transformers) == ("none", "none")
    assert (model.qk_channels, model.v_channels) == (256, 256)
    assert (pictures.crop_area, pictures.crop_aspect) == ((0.8, 1.0), (0.85, 1.18))
    assert (pictures.flip_probability, pictures.evaluation_flip) == (0.0, False)
    assert (config.training.mixing.cutmix_share, config.training.mixing.mixup_share) == (0.5, 0.0)
    sample = find_recipe("fashion-sample").streams.by_name["image"]
    assert (sample.crop_area, sample.flip_probability, sample.evaluation_flip) == ((1.0, 1.0), 0.0, False)


@pytest.mark.parametrize("name", ["fashion-sample", "imagenet-learned"])
def test_smoke_is_small(name: str):
    config = smoke(find_recipe(name))
    assert count_parameters(build_perceiver(config.input_config(), config.model, 3)) < 60_000
