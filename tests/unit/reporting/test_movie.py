from pathlib import Path

import numpy as np
import pytest

from perceptio.data.limits import Limits
from perceptio.data.video_files import open_video
from perceptio.reporting.figures import colour_map
from perceptio.reporting.movie import write_attention_movie

RATE = 5.0


def read(path: Path, count: int) -> np.ndarray:
    video = open_video(path, Limits())
    try:
        return video.frames_at([number / RATE for number in range(count)])
    finally:
        video.close()


def test_each_frame_shows_the_view_and_its_own_maps(tmp_path: Path) -> None:
    pictures = np.stack([np.full((50, 70, 1), 40 * number, np.uint8) for number in range(3)])
    maps = np.zeros((2, 1, 3, 5, 7))
    maps[0, 0, 2, :, :] = 1.0  # the first cross-attend wakes up at the last frame
    maps[1, 0, :, 0, :] = 3.0  # the second looks at the upper fifth throughout
    write_attention_movie(tmp_path / "a.mp4", pictures, maps, RATE)
    found = read(tmp_path / "a.mp4", 3).astype(int)
    # Twice the size, since the view is less than 96 pixels high; two rows and two columns, 4 pixels apart.
    assert found.shape == (3, 2 * 104, 2 * 144, 3)
    low, high = colour_map(np.array([0.0, 1.0])).astype(int)
    for number, frame in enumerate(found):
        view, first, second = frame[10:90, 10:130], frame[10:90, 154:274], frame[108:122, 154:274]
        assert np.abs(view - 40 * number).max() <= 6
        assert np.abs(first - (high if number == 2 else low)).mean() <= 6
        assert np.abs(second - high).mean() <= 8
        assert np.abs(frame[134:200, 154:274] - low).mean() <= 6
        assert frame[114:198, 10:130].min() >= 245, "nothing stands below the view"


def test_as_many_maps_as_frames_are_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^a film needs a map for each frame: got 2 maps for 3 frames$"):
        write_attention_movie(tmp_path / "a.mp4", np.zeros((3, 4, 4, 1), np.uint8), np.zeros((1, 1, 2, 4, 4)), RATE)
    assert not (tmp_path / "a.mp4").exists()
