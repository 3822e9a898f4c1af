"""Sound files for tests: WAV files byte by byte, everything else encoded by PyAV."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1(wide)", 16: "hexadecagonal"}
PCM, FLOAT = 1, 3


def wav_bytes(
    samples: np.ndarray, rate: int, *, bits: int, kind: int = PCM, declared_bytes: int | None = None
) -> bytes:
    """A WAV file of samples (n, channels) that are whole numbers of so many bits, or floats."""
    if kind == FLOAT:
        body = samples.astype(f"<f{bits // 8}").tobytes()
    elif bits == 8:
        body = (samples + 128).astype(np.uint8).tobytes()
    else:
        body = samples.astype("<i4").reshape(-1, 1).view(np.uint8)[:, : bits // 8].tobytes()
    channels = samples.shape[1]
    frame = channels * bits // 8
    header = struct.pack("<HHIIHH", kind, channels, rate, (rate * frame) & 0xFFFFFFFF, frame, bits)
    declared = len(body) if declared_bytes is None else declared_bytes
    chunks = b"WAVEfmt " + struct.pack("<I", len(header)) + header + b"data" + struct.pack("<I", declared) + body
    return b"RIFF" + struct.pack("<I", min(len(chunks), 0xFFFFFFFF)) + chunks


def encode(
    path: Path,
    samples: np.ndarray,
    rate: int,
    codec: str,
    *,
    container: str | None = None,
    options: dict[str, str] | None = None,
    bit_rate: int | None = None,
    sample_format: str | None = None,
    start: float = 0.0,
    picture_codec: str | None = None,
    pictures_start: float = 0.0,
    file_options: dict[str, str] | None = None,
) -> Path:
    """Encodes float samples (n, channels) within [-1, 1]; with a picture codec also a second of grey pictures.

    Sound and pictures begin so many seconds after the file does.
    """
    layout = LAYOUTS[samples.shape[1]]
    with av.open(str(path), "w", format=container, options=file_options or {}) as output:
        pictures = None if picture_codec is None else output.add_stream(picture_codec, rate=25)
        stream = output.add_stream(codec, rate=rate, layout=layout, options=options or {})
        if sample_format is not None:
            stream.codec_context.format = sample_format
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        stream.codec_context.open(strict=False)
        if pictures is not None:
            _encode_pictures(output, pictures, pictures_start)
        resampler = av.AudioResampler(
            format=stream.codec_context.format,
            layout=layout,
            rate=rate,
            frame_size=stream.codec_context.frame_size or 1024,
        )
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples, np.float64).reshape(1, -1), format="dbl", layout=layout
        )
        frame.sample_rate = rate
        done = round(start * rate)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            part.pts, part.time_base = done, Fraction(1, rate)
            done += part.samples
            output.mux(stream.encode(part))
        output.mux(stream.encode(None))
    return path


def _encode_pictures(output: av.container.OutputContainer, stream: av.VideoStream, start: float) -> None:
    stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
    for number in range(25):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8), format="rgb24")
        frame.pts, frame.time_base = number + round(25 * start), Fraction(1, 25)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def tones(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """A sound that is nowhere like itself a little later: two sweeps, another pair in each channel."""
    time = np.arange(round(seconds * rate)) / rate
    return np.stack(
        [
            0.4 * np.sin(2 * np.pi * (170.0 + 60 * k) * time * (1 + 0.07 * time))
            + 0.3 * np.sin(2 * np.pi * (1300.0 + 90 * k) * time * (1 + 0.01 * time))
            for k in range(channels)
        ],
        axis=1,
    )


def decoded(path: Path) -> tuple[np.ndarray, float]:
    """Everything that PyAV decodes from the beginning on, float64 (n, channels), and the first sample's time stamp."""
    with av.open(str(path)) as file:
        stream = file.streams.audio[0]
        frames = list(file.decode(stream))
    parts = []
    for frame in frames:
        values = frame.to_ndarray()
        if values.dtype.kind == "i":
            values = values / -float(np.iinfo(values.dtype).min)
        parts.append(values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels))
    return np.concatenate(parts).astype(np.float64), float(frames[0].pts * frames[0].time_base)
