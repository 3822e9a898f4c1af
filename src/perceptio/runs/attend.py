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
SUFFIXES = (".png", ".npz", ".mp4")
"""What attention is saved as: a picture, numbers, a film."""


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
    """Maps of one sample by stream.

    Attributes:
        sources: files that it was made from; none of them is written to.
    """

    streams: Mapping[str, StreamAttention]
    title: str
    sources: tuple[Path, ...] = ()

    def save(self, path: str | Path, *, overlay: bool = False) -> list[Path]:
        """Writes what the suffix says: .png a picture, .npz numbers, .mp4 a film; returns where, as `places` does.

        Args:
            overlay: maps over the picture instead of beside it.

        Raises:
            UsageError: as `places`, or an overlay of what is no picture.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        if overlay and suffix in SUFFIXES and suffix != ".png":
            raise UsageError(f"overlay has no effect on {path.name!r}; only a .png has one")
        places = self.places(path)
        for name, place in places.items():
            stream = self.streams[name]
            if suffix == ".png":
                title = self.title if len(places) == 1 else f"{self.title}: {name}"
                draw_attention(stream.picture, stream.maps, place, overlay=overlay, title=title)
            elif suffix == ".npz":
                save_attention_npz(place, stream.maps, stream.picture, stream.scores)
            else:
                _film(place, stream)
        return list(places.values())

    def places(self, path: Path) -> dict[str, Path]:
        """Returns where each stream would be written; where there are several, with the name before the suffix.

        Raises:
            UsageError: another suffix than .png, .npz or .mp4, a film of what does not move, or a place that is one of
                the sources.
        """
        check_suffix(path)
        shown = {name: stream for name, stream in self.streams.items() if stream.films or path.suffix.lower() != ".mp4"}
        if not shown:
            raise UsageError(f"nothing in {self.title} moves, so that there is nothing to film; leave the .mp4 away")
        places = {name: _place(path, name, of=len(shown)) for name in shown}
        for place in places.values():
            if any(place.exists() and source.exists() and place.samefile(source) for source in self.sources):
                raise UsageError(f"{place} is a file that attention is shown of; write to another one")
        return places


def check_suffix(path: Path, suffixes: Sequence[str] = SUFFIXES) -> None:
    """Raises UsageError where attention is not saved under such a name."""
    if path.suffix.lower() not in suffixes:
        *others, last = suffixes
        known = f"{', '.join(others)} or {last}" if others else f"{last} here"
        raise UsageError(f"attention is saved as {known}, got {path.name!r}")


def _film(place: Path, stream: StreamAttention) -> None:
    assert stream.films is not None, "places() gives those that move"
    maps = np.array([[film.maps for film in of_step] for of_step in stream.films])
    first = stream.films[0][0]
    write_attention_movie(place, first.pictures, maps, first.frames_per_second)


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
    table = () if isinstance(file, Mapping) else (file,)
    return Attention(streams=found, title=name.name, sources=(*table, *items.values()))


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
