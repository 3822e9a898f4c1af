"""The audio stream of an open file: its clock, its end, and its samples from any place on."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from perceptio.data.audio_samples import as_float, mixed
from perceptio.data.items import File
from perceptio.data.limits import Limits
from perceptio.data.media import Media, load_av, media_errors, open_media
from perceptio.errors import AbsentError, FileError

PADDING_SECONDS = Fraction(1, 10)
"""How far the header and the last packet may disagree: encoders fill up the last packet."""

# What a decoder needs before its output is right: MP3 borrows bits from up to 0.3 s before, Opus settles in 0.08 s.
_LEAD_SECONDS = Fraction(1, 2)
# Some files can only be entered every few seconds.
_LONG_LEAD_SECONDS = Fraction(12)
# How far time stamps may stray before they are believed: Matroska rounds them to milliseconds.
_STRAY_SECONDS = Fraction(1, 100)
# Vorbis changes between long and short blocks, and where it does FFmpeg's time stamps are off by half their difference.
_VORBIS_STRAY_SECONDS = Fraction(1, 10)
# PyAV takes a frame's planes to end at the first null. Behind eight or more there is none: what comes next in memory
# would be read as sound, or end the process.
_MOST_PLANES = 7
# Formats that count samples in their time stamps and have no way to leave any out: a gap is damage.
_WITHOUT_GAPS = frozenset({"flac", "ogg"})
# Titles and the like at the beginning and end of an MP3 that is otherwise as long as its header says.
_TAG_BYTES = 2048
_ATTACHED_PICTURE = 1024  # AV_DISPOSITION_ATTACHED_PIC: a cover, not moving pictures


def rounded_ratio(numerator: int, denominator: int) -> int:
    """Returns the whole number nearest to a ratio with a positive denominator, the larger of two."""
    return (2 * numerator + denominator) // (2 * denominator)


class Track:
    """The audio stream of an open file and its clock. Indices count samples at the file's rate from time 0."""

    def __init__(self, file: File, limits: Limits) -> None:
        self.file = file
        self._limits = limits
        self._errors: type[Exception] = load_av().error.FFmpegError
        self._interleaver: tuple[tuple[str, str, int], Any] | None = None
        self.reopen()

    def reopen(self) -> None:
        """Goes back to the very beginning, with a new decoder."""
        self.close()
        self._media = open_media(self.file, self._limits)
        self._container: Any = self._media.container
        try:
            with media_errors(self.file):
                self._choose()
        except BaseException:
            self.close()
            raise
        self._at_beginning = True

    def close(self) -> None:
        """Lets go of the file."""
        media: Media | None = getattr(self, "_media", None)
        if media is not None:
            media.close()

    def _choose(self) -> None:
        streams = self._container.streams
        if not streams.audio:
            raise AbsentError("has no sound")
        stream: Any = streams.best("audio") or streams.audio[0]
        decoder = stream.codec_context
        if decoder is None:
            raise FileError("its sound is of a kind that cannot be decoded")
        for other in streams:
            if other.index != stream.index:
                other.discard = load_av().stream.Discard.all  # videos are then skipped over, not taken apart
        decoder.thread_count = 1  # loader workers are the threads
        self._stream = stream
        self._stray_seconds = _VORBIS_STRAY_SECONDS if decoder.name == "vorbis" else _STRAY_SECONDS
        self.sample_rate_hz = int(decoder.sample_rate or 0)
        self.num_channels = int(decoder.layout.nb_channels)
        if not 1 <= self.sample_rate_hz <= self._limits.max_sample_rate_hz:
            raise FileError(
                f"declares {self.sample_rate_hz:,} samples a second; it must be 1 to "
                f"{self._limits.max_sample_rate_hz:,} (--source.limits.max-sample-rate-hz)"
            )
        if not 1 <= self.num_channels <= self._limits.max_sound_channels:
            raise FileError(
                f"declares {self.num_channels} channels of sound; it must be 1 to {self._limits.max_sound_channels} "
                "(--source.limits.max-sound-channels)"
            )
        moving = [video for video in streams.video if not int(video.disposition) & _ATTACHED_PICTURE]
        leading = next((video for video in moving if video.start_time is not None), stream)
        self._origin = (leading.start_time or 0) * Fraction(leading.time_base)
        self._first = self._sample_at(stream.start_time or 0, stream.time_base)

    def stated_end(self) -> Fraction | None:
        """Returns where the sound ends according to the header, in seconds; None if it does not say.

        Raises:
            FileError: it says more than any recording has.
        """
        stream, container = self._stream, self._container
        end: Fraction
        if stream.duration is not None:
            end = ((stream.start_time or 0) + stream.duration) * Fraction(stream.time_base) - self._origin
        elif container.duration is not None:
            end = Fraction((container.start_time or 0) + container.duration, 1_000_000) - self._origin
        else:
            return None
        return self._checked_end(end)

    def _checked_end(self, end: Fraction) -> Fraction:
        if end > self._limits.max_sound_seconds:
            raise FileError(
                f"declares {float(end):,.0f} s of sound; the limit is {self._limits.max_sound_seconds:,} s "
                "(--source.limits.max-sound-seconds)"
            )
        return end

    def find_end(self) -> Fraction:
        """Returns where the sound ends, in seconds, from its last packet; the file then stands anywhere.

        Raises:
            FileError: header or packets say more than any recording has.
        """
        stated = self.stated_end()
        if stated is not None and self._fills_the_file(stated):
            return stated
        found = None
        if stated is not None:
            found = self._last_packet_end() if self._seek(max(stated - 1, Fraction(0))) else None
        if found is None:
            self.reopen()
            found = self._last_packet_end() or Fraction(0)
        self._checked_end(found)
        # Headers leave the padding of the last packet out, so they know better; but some only estimate.
        return stated if stated is not None and abs(found - stated) <= PADDING_SECONDS else found

    def _fills_the_file(self, seconds: Fraction) -> bool:
        """Whether a sound of this length at its constant bit rate takes just the bytes that there are.

        Saves reading through an MP3, which has no other way to get to its end: 0.2 s of processor time in two hours.
        """
        bit_rate = self._stream.codec_context.bit_rate
        if self._container.format.name != "mp3" or not bit_rate or not self._stream.start_time:
            return False  # no priming: no header that knows the length, which FFmpeg then only estimates
        expected = float(seconds) * bit_rate / 8
        return bool(abs(self._container.size - expected) <= _TAG_BYTES + expected / 1000)

    def _last_packet_end(self) -> Fraction | None:
        """Reads on to the end of the file."""
        last: Fraction | None = None
        self._at_beginning = False
        for packet in self._packets():
            if packet is not None and packet.size and packet.pts is not None:
                end: Fraction = (packet.pts + (packet.duration or 0)) * Fraction(packet.time_base) - self._origin
                last = end if last is None else max(last, end)
        return last

    def _seek(self, seconds: Fraction) -> bool:
        """Goes to a place at or before a time if the format can; a decoder starts afresh there."""
        self._at_beginning = False
        place = int((seconds + self._origin) / Fraction(self._stream.time_base))
        try:
            self._container.seek(place, stream=self._stream)
        except self._errors:
            return False
        return True

    def pieces_from(self, wanted: int, num_channels: Literal[1, 2]) -> Iterator[tuple[int, np.ndarray]]:
        """Yields the sound as `pieces` does, from some place at or before the wanted sample on."""
        second = Fraction(wanted, self.sample_rate_hz)
        for lead in (_LEAD_SECONDS, _LONG_LEAD_SECONDS):
            if second <= lead or not self._seek(second - lead):
                break
            rest = self.pieces(wanted, num_channels)
            head = next(rest, None)
            if head is not None and head[0] <= wanted:
                yield head
                yield from rest
                return
        if not self._at_beginning:
            self.reopen()
        yield from self.pieces(wanted, num_channels)

    def pieces(self, wanted: int, num_channels: Literal[1, 2]) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (index of the first sample, float32 samples (n, num_channels)) from where the file stands to its end.

        Raises:
            FileError: sound follows on something that cannot be decoded, is missing, or was lost after the wanted
                sample.
        """
        stray = int(self._stray_seconds * self.sample_rate_hz)
        expected = self._first if self._at_beginning else None
        settled = not self._at_beginning
        broken: int | None = None
        self._at_beginning = False
        for packet in self._packets():
            if packet is None:
                raise self._damage(expected or wanted)
            try:
                frames = packet.decode()
            except self._errors:
                place = self._index(packet, expected)
                # Some encoders begin with a packet that leans on one before it; players pass over it.
                if settled and place >= wanted and broken is None:
                    broken = place
                continue
            for frame in frames:
                index = self._index(frame, expected)
                if expected is not None:
                    if abs(index - expected) <= stray:
                        index = expected
                    elif self._container.format.name in _WITHOUT_GAPS:
                        if index < expected:
                            raise FileError("holds several recordings one after the other; split it")
                        if index > wanted:
                            broken = max(expected, wanted)
                if broken is not None:
                    raise self._damage(broken)
                piece = mixed(self._samples(frame), [channel.name for channel in frame.layout.channels], num_channels)
                yield index, piece
                expected, settled = index + len(piece), True

    def _packets(self) -> Iterator[Any]:
        """Yields the packets from where the file stands to its end, or a None where it falls apart before that."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                yield next(packets)
            except StopIteration:
                return
            except load_av().error.InvalidDataError:
                yield None
                return

    def _damage(self, index: int) -> FileError:
        return FileError(f"damaged: its sound is broken {index / self.sample_rate_hz:,.2f} s after the beginning")

    def _index(self, timed: Any, expected: int | None) -> int:
        """Returns the sample at which a packet or a frame begins."""
        if timed.pts is None or timed.time_base is None:
            return expected or 0
        return self._sample_at(timed.pts, timed.time_base)

    def _sample_at(self, ticks: int, base: Fraction) -> int:
        """Returns the sample nearest to a place on the stream's clock.

        In whole numbers: a hundred packets a second would spend more time on fractions than on sound.
        """
        origin, rate = self._origin, self.sample_rate_hz
        since = ticks * base.numerator * origin.denominator - origin.numerator * base.denominator
        return rounded_ratio(since * rate, base.denominator * origin.denominator)

    def _samples(self, frame: Any) -> np.ndarray:
        """Returns the samples of a frame as float32 (n, channels)."""
        if frame.sample_rate != self.sample_rate_hz:
            raise FileError(
                f"changes its sample rate from {self.sample_rate_hz:,} to {frame.sample_rate:,} Hz in the middle; "
                "convert it to one rate"
            )
        channels = frame.layout.nb_channels
        if not frame.format.is_planar:
            return as_float(frame.to_ndarray().reshape(-1, channels))
        if channels <= _MOST_PLANES:
            return as_float(frame.to_ndarray().T)
        kind = (frame.format.name, frame.layout.name, channels)
        if self._interleaver is None or self._interleaver[0] != kind:
            self._interleaver = kind, load_av().AudioResampler(frame.format.packed, frame.layout, frame.sample_rate)
        parts = self._interleaver[1].resample(frame)
        return as_float(np.concatenate([part.to_ndarray().reshape(-1, channels) for part in parts]))
