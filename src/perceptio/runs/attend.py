"""Attention maps of one sample (paper Fig. 3), a picture for each of its streams."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import cast

import numpy as np

from perceptio.data.batches import collate, model_inputs
from perceptio.data.dataset import Sample, View
from perceptio.errors import UsageError
from perceptio.evaluation.attention_maps import cross_attend_maps, most_telling_latents
from perceptio.modalities.contract import Film, Modality
from perceptio.modalities.streams import StreamReader, Streams
from perceptio.models.perceiver import Perceiver
from perceptio.reporting.attention import AttentionMaps, draw_attention, save_attention_npz
from perceptio.reporting.movie import write_attention_movie
from perceptio.runs.model_file import find_model_file, read_model
from perceptio.runs.predict import Asked, samples_of

SHOWN_LATENTS = 8


@dataclass(frozen=True, kw_only=True)
class StreamAttention:
    """Maps of one stream of a sample, ready to be drawn or saved.

    Attributes:
        picture: the view as people see it, uint8 (height, width, 1 or 3).
        maps: laid out as the picture.
        scores: (cross-attends, latents, \\*token axes), as the model has them.
        films: for each cross-attend and latent the view as it moves; None for what does not move.
    """

    picture: np.ndarray
    maps: AttentionMaps
    scores: np.ndarray
    films: tuple[tuple[Film, ...], ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Attention:
    """Maps of one sample by stream."""

    streams: Mapping[str, StreamAttention]
    title: str

    def draw(self, path: Path, *, overlay: bool = False) -> list[Path]:
        """Writes a PNG and returns where; of several streams one each, with the stream's name before the suffix."""
        written = []
        for name, stream in self.streams.items():
            place = _place(path, name, of=len(self.streams))
            title = self.title if len(self.streams) == 1 else f"{self.title}: {name}"
            draw_attention(stream.picture, stream.maps, place, overlay=overlay, title=title)
            written.append(place)
        return written

    def save(self, path: str | Path, *, overlay: bool = False) -> list[Path]:
        """Writes what the suffix says: .png a picture, .npz numbers, .mp4 a film; returns where, as `draw` does.

        Args:
            overlay: maps over the picture instead of beside it.

        Raises:
            UsageError: another suffix, an overlay of what is no picture, or a film of what does not move.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if overlay and suffix != ".png":
            raise UsageError(f"overlay has no effect on {path.name!r}; only a .png has one")
        if suffix == ".png":
            return self.draw(path, overlay=overlay)
        if suffix == ".npz":
            return self.save_numbers(path)
        if suffix == ".mp4":
            return self.film(path)
        raise UsageError(f"attention is saved as .png, .npz or .mp4, got {path.name!r}")

    def save_numbers(self, path: Path) -> list[Path]:
        """Writes the numbers as npz and returns where, as `draw` does."""
        written = []
        for name, stream in self.streams.items():
            place = _place(path, name, of=len(self.streams))
            save_attention_npz(place, stream.maps, stream.picture, stream.scores)
            written.append(place)
        return written

    def film(self, path: Path) -> list[Path]:
        """Writes an mp4 and returns where; where several streams move one each, with the name before the suffix.

        Raises:
            UsageError: nothing moves.
        """
        moving = {name: stream.films for name, stream in self.streams.items() if stream.films is not None}
        if not moving:
            raise UsageError(f"nothing in {self.title} moves, so that there is nothing to film; leave --movie away")
        written = []
        for name, films in moving.items():
            maps = np.array([[film.maps for film in of_step] for of_step in films])
            place = _place(path, name, of=len(moving))
            write_attention_movie(place, films[0][0].pictures, maps, films[0][0].frames_per_second)
            written.append(place)
        return written


def attend_file(
    run: Path,
    file: Asked,
    *,
    latents: Sequence[int] = (),
    cross_attends: Sequence[int] = (),
    softmax: bool = False,
) -> Attention:
    """Returns what chosen latents of a run's model attend to in a file; of a recording, in its first clip.

    Args:
        file: as `predict_files` takes it; a table must have one row.
        latents: which latents, from 0; empty: the eight whose maps say most about the file.
        cross_attends: which cross-attends, from 1; empty: the first, the second and the last.
        softmax: attention weights instead of scores.

    Raises:
        FileError: when the file cannot be read.
        DataError: when the table cannot be read.
        UsageError: when there is no model, or the table has more rows.
        ValueError: for a latent or cross-attend that the model does not have.
    """
    model, facts = read_model(find_model_file(run))
    for number in cross_attends:
        if not 1 <= number <= model.config.num_cross_attends:
            raise ValueError(
                f"there is no cross-attend {number}: this model has {model.config.num_cross_attends}, counted from 1"
            )
    streams = facts.config.streams
    (name, items), *others = islice(samples_of([file], streams, facts.config.source.limits), 2)
    if others:
        raise UsageError(f"{file} has more than one row; attention is shown of one sample, so keep one row of it")
    found = attention_of(
        model,
        StreamReader(streams, facts.config.source.limits).evaluation_views(items)[0],
        streams,
        latents=latents,
        cross_attends=[number - 1 for number in cross_attends],
        softmax=softmax,
    )
    return Attention(streams=found, title=name.name)


def attention_of(
    model: Perceiver,
    view: View,
    streams: Streams,
    *,
    latents: Sequence[int] = (),
    cross_attends: Sequence[int] = (),
    softmax: bool = False,
) -> dict[str, StreamAttention]:
    """Returns the maps of a view by stream. Cross-attends count from 0 here."""
    inputs, _, _ = model_inputs(collate([Sample(0, (view,))]).to(model.latents.device), streams.prepare)
    last = model.config.num_cross_attends - 1
    steps = list(cross_attends) or sorted({0, min(1, last), last})
    chosen = list(latents) or most_telling_latents(model, inputs, SHOWN_LATENTS)
    scores = cross_attend_maps(model, inputs, latents=chosen, cross_attends=steps, softmax=softmax)
    found = {}
    for name, of_stream in scores.items():
        modality, values = streams.by_name[name], view[name]
        laid_out = np.array([[modality.spread(values, of_latent) for of_latent in of_step] for of_step in of_stream])
        maps = AttentionMaps(
            scores=laid_out, steps=tuple(step + 1 for step in steps), latents=tuple(chosen), softmax=softmax
        )
        found[name] = StreamAttention(
            picture=modality.picture(values), maps=maps, scores=of_stream, films=_films(modality, values, of_stream)
        )
    return found


def _place(path: Path, stream: str, *, of: int) -> Path:
    """Returns the path itself for the only stream that is written, else one that bears the stream's name."""
    return path if of == 1 else path.with_name(f"{path.stem}-{stream}{path.suffix}")


def _films(modality: Modality, values: np.ndarray, scores: np.ndarray) -> tuple[tuple[Film, ...], ...] | None:
    films = tuple(tuple(modality.film(values, of_latent) for of_latent in of_step) for of_step in scores)
    return None if films[0][0] is None else cast(tuple[tuple[Film, ...], ...], films)
